"""prepare_probes: from passages with probes of what they say to a corpus and queries as JSON lines, among distractors.

The file is a JSON array of objects with `train_context` (a passage of invented knowledge) and, for each kind of probe,
`KIND_input` and `KIND_target`: lists of prompts and of what continues them, a space between. `mem` probes stand in the
passage word for word, `gen` probe i asks for the same as `mem` probe i in other words, `hard_gen` asks for more.
Source of the form: Chang et al., arXiv 2406.11813.
"""

import dataclasses
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from etils import epath

from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import seeds
from jax_tda.core.bounds import Bound, Items
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import DocumentsOrAll, Module, Path, Seed
from jax_tda.data import records, sources

KIND = "probes"
Probe = Literal["mem", "gen", "hard_gen"]
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+")


@dataclasses.dataclass(frozen=True)
@declared("prepare_probes")
class PrepareProbesConfig:
    """Which passages and probes, cut how, among what.

    Args:
      source: the file of passages and probes.
      distractors: passages that teach none of it: as `tokenize` takes it; empty for none.
      seqio_module: module that registers the Task.
      passages: how many are drawn; 0 takes all.
      part_characters: a passage is cut between sentences into parts of at most so many; a longer sentence is a part.
      parts: how many parts of each passage are kept, from its beginning; 0 keeps all.
      kinds: which probes are asked.
      distractor_count: how many are drawn; 0 takes all.
      seed: of both draws.
    """

    source: Path = input_path(required=True)
    distractors: Path = input_path()
    seqio_module: Module = "jax_tda.data.facts.tasks"
    passages: DocumentsOrAll = 40
    part_characters: Annotated[int, Bound(1, 2**31, unit="characters")] = 480
    parts: Annotated[int, Bound(0, 10**6, unit="parts", meaning="0 for all")] = 3
    kinds: Annotated[tuple[Probe, ...], Items(1, different=True)] = ("mem", "gen")
    distractor_count: DocumentsOrAll = 200
    seed: Seed = 0


def plan(config: PrepareProbesConfig, output: str) -> str:
    """What the job would do."""
    many = config.passages or "all"
    return f"prepare_probes: {many} passages of {config.source}, probes {', '.join(config.kinds)} → {output}"


@by_first
def run(config: PrepareProbesConfig, output: str) -> Reader:
    """Writes `corpus.jsonl` and `queries.jsonl`; gold is the part that teaches, weak are the passage's other parts."""
    described = settings(config) | {"source": sources.identity(config.source, "", "")}
    if config.distractors:
        described["distractors"] = sources.identity(config.distractors, config.seqio_module, "train")
    writer = begin(output, KIND, described, {})
    if isinstance(writer, Reader):
        return writer
    given = _read(config.source, config.kinds)
    drawn = _drawn(len(given), config.passages, "passages", config.seed)
    passages, queries, left_out = [], list[dict[str, Any]](), Counter[str]()
    for number in drawn:
        name = f"passage-{number:04d}"
        parts = parts_of(given[number]["train_context"], config.part_characters)
        passages += [{"id": f"{name}/{n}", "text": text} for n, text in _kept(parts, config.parts)]
        queries += _probes(given[number], name, parts, config, left_out)
    distractors = list(_distractors(config))
    rows = passages + distractors
    order = seeds.generator(config.seed, "probes", "order").permutation(len(rows))
    writer.write_lines("corpus.jsonl", (rows[place] for place in order))
    writer.write_lines("queries.jsonl", queries)
    facts = {
        "passages": len(drawn),
        "parts": len(passages),
        "distractors": len(distractors),
        "queries": len(queries),
        "left_out": dict(left_out),
    }
    print("prepare_probes: " + ", ".join(f"{name} {value}" for name, value in facts.items()))
    return writer.finish(facts)


def parts_of(text: str, characters: int) -> list[tuple[int, str]]:
    """Stretches of whole sentences, each as long as `characters` allow, and where each begins in the text."""
    bounds = [0, *(found.end() for found in _SENTENCE_ENDS.finditer(text)), len(text)]
    parts, begin_at = [], 0
    for sentence, end in itertools.pairwise(bounds):
        if sentence > begin_at and len(text[begin_at:end].rstrip()) > characters:
            parts.append((begin_at, text[begin_at:sentence].rstrip()))
            begin_at = sentence
    return [*parts, (begin_at, text[begin_at:].rstrip())]


def _kept(parts: list[tuple[int, str]], most: int) -> Iterator[tuple[int, str]]:
    for number, (_, text) in enumerate(parts[: most or None]):
        yield number, text


def _probes(
    given: dict[str, Any], name: str, parts: list[tuple[int, str]], config: PrepareProbesConfig, left_out: Counter[str]
) -> Iterator[dict[str, Any]]:
    kept = config.parts or len(parts)
    for kind in config.kinds:
        for number, (prompt, target) in enumerate(zip(given[f"{kind}_input"], given[f"{kind}_target"], strict=True)):
            gold = _teaching(given, kind, number, parts)
            if not gold:
                left_out["nowhere in the passage"] += 1
            elif min(gold) >= kept:
                left_out["taught by a part that was cut off"] += 1
            else:
                yield {
                    "id": f"{name}/{kind}/{number}",
                    "prompt": prompt,
                    "target": f" {target}",
                    "gold": [f"{name}/{part}" for part in sorted(gold) if part < kept],
                    "weak": [f"{name}/{part}" for part in range(min(kept, len(parts))) if part not in gold],
                    "kind": kind,
                    "passage": name,
                }


def _teaching(given: dict[str, Any], kind: str, number: int, parts: list[tuple[int, str]]) -> set[int]:
    """The parts that teach a probe: the one in which its sentence stands, or all that hold a hard probe's target."""
    if kind == "hard_gen":
        target = given["hard_gen_target"][number].lower()
        return {place for place, (_, text) in enumerate(parts) if target in text.lower()}
    prompt, target = given["mem_input"][number], given["mem_target"][number]
    found = given["train_context"].find(f"{prompt} {target}")
    if found < 0:
        return set()
    said = found + len(prompt) + 1
    inside = [n for n, (start, text) in enumerate(parts) if start <= said and said + len(target) <= start + len(text)]
    return set(inside)


def _distractors(config: PrepareProbesConfig) -> Iterator[dict[str, Any]]:
    if not config.distractors:
        return
    sources.check_exists(config.distractors)
    found = list(sources.read(config.distractors, config.seqio_module, "train", "passages", "refuse", Counter()))
    for row in _drawn(len(found), config.distractor_count, "distractors", config.seed):
        record = found[row]
        assert isinstance(records.demand_text(record, "prepare_probes"), records.Passage)
        yield {"id": f"distractor/{record.id}", "text": record.text}


def _drawn(count: int, wanted: int, what: str, seed: int) -> list[int]:
    if wanted > count:
        raise InputError(
            f"there are fewer {what} than are to be drawn",
            got=f"{count} {what}",
            expected=f"at least {wanted}",
            remedy=f"lower prepare_probes.{'passages' if what == 'passages' else 'distractor_count'}, or 0 for all",
        )
    chosen = seeds.generator(seed, "probes", what).choice(count, size=wanted or count, replace=False)
    return sorted(int(row) for row in chosen)


def _read(source: str, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    try:
        given = json.loads(epath.Path(source).read_text())
    except (OSError, ValueError, RecursionError) as problem:
        raise _unreadable(source, problem) from problem
    if not isinstance(given, list) or not given:
        raise _unreadable(source, f"{type(given).__name__} of length {len(given) if isinstance(given, list) else 1}")
    # `gen` probes are located by the `mem` probes that ask for the same.
    prefixes = [f"{kind}_" for kind in dict.fromkeys((*kinds, "mem"))]
    for number, row in enumerate(given):
        if not isinstance(row, dict) or not isinstance(row.get("train_context"), str):
            raise _unreadable(source, f"entry {number} without the text `train_context`")
        for prefix in prefixes:
            prompts, targets = _texts(row.get(f"{prefix}input")), _texts(row.get(f"{prefix}target"))
            if not prompts or not targets or len(prompts) != len(targets):
                raise _unreadable(source, f"entry {number} without `{prefix}input` and `{prefix}target` of one length")
        if "gen" in kinds and len(row["gen_input"]) != len(row["mem_input"]):
            raise _unreadable(source, f"entry {number} with another number of `gen_` than of `mem_` probes")
    return given


def _texts(value: Any) -> list[str]:
    """The texts of a list of texts; nothing for anything else."""
    return value if isinstance(value, list) and all(isinstance(text, str) and text for text in value) else []


def _unreadable(source: str, got: object) -> InputError:
    return InputError(
        f"{source} is no file of passages with probes",
        got=got,
        expected="a JSON array of objects with train_context, KIND_input and KIND_target",
        remedy="give the path of such a file as prepare_probes.source",
    )
