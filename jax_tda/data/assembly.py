"""From segments to the corpus artifact: arrays in exact shards, and the lines of the records."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jax_tda.artifacts.artifact import Writer
from jax_tda.core import processes
from jax_tda.core.progress import Progress
from jax_tda.data.segments import Kept, statistics

_SHARD = "shard_"


def counted(segments: Sequence[Kept]) -> list[dict[str, Any]]:
    """Of each segment what is counted of the pieces that stay."""
    return [
        segment.facts | (statistics(segment.spans()) if segment.dropped else {}) | {"doubtful": _doubtful(segment)}
        for segment in segments
    ]


def _doubtful(segment: Kept) -> dict[str, int]:
    found = segment.facts["doubtful"].items()
    return {reason: len(set(documents) - set(segment.dropped)) for reason, documents in found}


def write(writer: Writer, segments: Sequence[Kept], examples: Sequence[int], longest: int, shard_rows: int) -> None:
    """Writes arrays and records; of several processes each writes every so-manieth shard, the first the records.

    Args:
      writer: of the corpus.
      segments: in the order of the corpus.
      examples: how many stay of each segment.
      longest: of all pieces, in tokens.
      shard_rows: examples per shard.
    """
    total = int(sum(examples))
    tokens = writer.array("tokens", (total, longest), "int32", shard_rows, compressed=True)
    spans = writer.array("spans", (total, 2), "int32", shard_rows)
    starts = np.concatenate([[0], np.cumsum(examples, dtype=np.int64)])
    done = {name for name in writer.finished_units() if name.startswith(_SHARD)}
    mine = range(processes.index(), -(-total // shard_rows), processes.count())
    rows_of = {shard: min(shard_rows, total - shard * shard_rows) for shard in mine}
    before = sum(size for shard, size in rows_of.items() if f"{_SHARD}{shard:08d}" in done)
    progress = Progress("tokenize: writing", sum(rows_of.values()), "examples", before)

    @functools.lru_cache(maxsize=1)
    def held(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One segment's spans and tokens, and where each piece's begin."""
        found = segments[number].spans()
        return found, segments[number].tokens(), np.concatenate([[0], np.cumsum(found[:, 0], dtype=np.int64)])

    for shard in mine:
        if f"{_SHARD}{shard:08d}" in done:
            continue
        start, stop = shard * shard_rows, min((shard + 1) * shard_rows, total)
        rows, about = np.zeros((stop - start, longest), np.int32), np.zeros((stop - start, 2), np.int32)
        for number in range(int(np.searchsorted(starts, start, "right")) - 1, len(segments)):
            first, last = max(start, int(starts[number])), min(stop, int(starts[number + 1]))
            if first >= stop:
                break
            if first < last:
                _fill(
                    held(number),
                    slice(first - int(starts[number]), last - int(starts[number])),
                    rows[first - start :],
                    about[first - start :],
                )
        tokens.write_shard(start, rows)
        spans.write_shard(start, about)
        writer.finish_unit(f"{_SHARD}{shard:08d}", {})
        progress.advance(stop - start)
    writer.write_parts("records.jsonl", _lines(segments))


def _fill(held: tuple[np.ndarray, np.ndarray, np.ndarray], taken: slice, rows: np.ndarray, about: np.ndarray) -> None:
    """Puts the taken pieces of one segment into the first of the rows."""
    spans, tokens, begins = held
    part = spans[taken]
    there = np.arange(rows.shape[1]) < part[:, :1]
    rows[: len(part)][there] = tokens[begins[taken.start] : begins[taken.stop]]
    about[: len(part)] = part[:, :2]


def _lines(segments: Sequence[Kept]) -> Iterator[bytes]:
    for segment in segments:
        yield segment.records()
