"""The first half of `tokenize`: each input shard becomes segments, by the process that it is dealt to."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax_tda.artifacts.artifact import Writer
from jax_tda.core import processes
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data import records, sources, split
from jax_tda.data.segments import Draft, Kept

_NAME = re.compile(r"segment_(\d+)_(\d+)")
Cut = Callable[[records.Record], tuple[records.Record, list[split.Piece]]]


def _finished(writer: Writer) -> dict[tuple[int, int], dict[str, Any]]:
    """What is known of every finished segment, by shard and number, in order."""
    found = {}
    for name, facts in writer.finished_units().items():
        if numbered := _NAME.fullmatch(name):
            found[int(numbered[1]), int(numbered[2])] = facts
    return dict(sorted(found.items()))


def kept(writer: Writer, dropped: Mapping[tuple[int, ...], Sequence[int]]) -> list[Kept]:
    """Every segment in the order of the corpus, with the documents of each that are left out."""
    return [
        Kept(_folder(writer, place), place, facts, tuple(dropped.get(place, ())))
        for place, facts in _finished(writer).items()
    ]


def _folder(writer: Writer, place: tuple[int, int]) -> Any:
    return writer.scratch() / "segments" / f"{place[0]}_{place[1]}"


def make(writer: Writer, work: sources.Work, cut: Cut, on_bad_record: str) -> None:
    """Makes the segments of this process's shards that are not made yet, and waits for the others.

    Args:
      writer: of the corpus.
      work: the source's rows.
      cut: gives the record as it is kept, and its pieces.
      on_bad_record: `refuse` or `skip`.

    Raises:
      InputError: at a bad record that may not be skipped; in every process, whichever met it.
    """
    run = processes.agree(lambda: f"{time.time():.6f}")
    done = _finished(writer)
    progress = Progress("tokenize", None, "records", sum(facts["rows"] for facts in done.values()))
    try:
        for shard in range(processes.index(), work.count, processes.count()):
            of_shard = [facts for place, facts in done.items() if place[0] == shard]
            if not (of_shard and of_shard[-1]["last"]):
                _make_shard(writer, work, shard, of_shard, cut, on_bad_record, progress)
    except InputError as refused:
        if processes.count() == 1:
            raise
        said = [refused.what, str(refused.got), str(refused.expected), refused.remedy]
        writer.finish_unit(f"refused_{run}_{processes.index()}", {"said": said})
    progress.end()
    processes.barrier("segments")
    processes.agree(lambda: _demand_none_refused(writer, run))


def _demand_none_refused(writer: Writer, run: str) -> None:
    for name, facts in sorted(writer.finished_units().items()):
        if name.startswith(f"refused_{run}_"):
            what, got, expected, remedy = facts["said"]
            writer.start_over()
            raise InputError(what, got=got, expected=expected, remedy=remedy)


def _make_shard(
    writer: Writer,
    work: sources.Work,
    shard: int,
    done: list[dict[str, Any]],
    cut: Cut,
    on_bad_record: str,
    progress: Progress,
) -> None:
    row = done[-1]["first_row"] + done[-1]["rows"] if done else 0
    number, draft = len(done), Draft(row)

    def write(last: bool) -> None:
        facts = draft.write(_folder(writer, (shard, number)), last)
        writer.finish_unit(f"segment_{shard:07d}_{number:07d}", facts)

    note = f"shard {shard + 1:,} of {work.count:,}"
    for where, read in work.rows(shard, row):
        if draft.full:
            write(last=False)
            number, draft = number + 1, Draft(row)
        try:
            record = read()
            if record.id in draft.seen:
                got = f"{record.id!r}, first at {draft.seen[record.id]}"
                raise records.Rejected(where, "duplicate id", got=got, expected="an id of its own for every record")
            draft.seen[record.id] = where
            draft.add(*cut(record), row)
        except records.Rejected as problem:
            if on_bad_record == "refuse":
                raise
            draft.reject(problem.reason)
        row, draft.rows = row + 1, draft.rows + 1
        progress.advance(1, note)
    write(last=True)
