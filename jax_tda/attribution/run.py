"""score: from two encodings artifacts to one ranking, streamed over the corpus's shards."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.encodings import EncodingStore, check_joinable, open_encodings
from jax_tda.attribution import mix, similarity
from jax_tda.attribution.top_k import Best, Ends
from jax_tda.core.config import input_path, settings
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress


@dataclasses.dataclass(frozen=True)
class ScoreConfig:
    """Which encodings are compared, and how.

    Args:
      train: the corpus's encodings.
      query: the queries' encodings.
      correction: R^(-1/2) and norms from `mix_curvature`; empty for the identity.
      answers: which queries the model answers exactly, carried into the ranking.
      method: the ranking's name.
      unit_norm: whether scores are cosines.
      top_k: how many of each end are kept.
      queries_at_once: queries scored per pass over a shard.
    """

    train: str = input_path()
    query: str = input_path()
    correction: str = input_path()
    answers: str = input_path()
    method: str = "trackstar"
    unit_norm: bool = True
    top_k: int = 100
    queries_at_once: int = 1024


def plan(config: ScoreConfig, output: str) -> str:
    """What the job would do."""
    return f"score: {config.method}, top {config.top_k} of {config.train} for {config.query} → {output}"


def run(config: ScoreConfig, output: str) -> Reader:
    """Writes one ranking, `METHOD.jsonl`, with a line for every query."""
    if config.top_k < 1:
        raise InputError("score.top_k is not possible", got=config.top_k, expected="at least 1", remedy="raise it")
    train, query = open_encodings(config.train), open_encodings(config.query)
    check_joinable(train.reader, query.reader)
    inputs = {"train": train.reader, "query": query.reader, "answers": open_artifact(config.answers, "answers")}
    correction = None
    if config.correction:
        correction = inputs["correction"] = open_artifact(config.correction, mix.KIND)
        check_joinable(train.reader, correction)
        _check_norms(train, correction, config)
    exact = _answered_exactly(inputs["answers"], query, config)
    writer = begin(output, ranking.KIND, settings(config), inputs, name=config.method)
    if isinstance(writer, Reader):
        return writer
    ends = _rank(config, train, query, correction)
    rows = _lines(ends, query.ids, train.ids, exact)
    count = writer.write_lines(f"{config.method}.jsonl", rows)
    facts = {"method": config.method, "queries": count, "left_out": train.facts["left_out"]}
    if correction:
        names = ("query_weight", "component", "damping")
        facts |= {name: correction.manifest.facts[name] for name in names}
    return writer.finish(facts)


def _answered_exactly(answers: Reader, query: EncodingStore, config: ScoreConfig) -> dict[str, bool]:
    exact = {row["query_id"]: row["answered_exactly"] for row in answers.read_lines("answers.jsonl")}
    made_with = answers.manifest.facts.get("checkpoint")
    if made_with is not None and made_with != query.facts.get("checkpoint"):
        raise InputError(
            f"the answers {config.answers} are another checkpoint's than the encodings {config.query}",
            got=f"checkpoint {made_with[:12]}",
            expected=f"checkpoint {str(query.facts.get('checkpoint'))[:12]}",
            remedy="run answer with the checkpoint that encoded",
        )
    missing = [name for name in query.ids if name not in exact]
    if missing:
        raise InputError(
            f"the answers {config.answers} are not those of the queries {config.query}",
            got=f"no answer for {len(missing)} queries, such as {missing[0]!r}",
            expected="an answer for every query",
            remedy="run answer with these queries",
        )
    return exact


def _check_norms(train: EncodingStore, correction: Reader, config: ScoreConfig) -> None:
    made_from = correction.manifest.inputs["encodings"]["digest"]
    if made_from != train.reader.manifest.digest:
        raise InputError(
            f"the norms of {config.correction} are not those of {config.train}",
            got=f"norms of encodings {made_from[:12]}",
            expected=f"norms of encodings {train.reader.manifest.digest[:12]}",
            remedy="run mix_curvature with these encodings",
        )


def _rank(config: ScoreConfig, train: EncodingStore, query: EncodingStore, correction: Reader | None) -> list[Ends]:
    root, norms = None, None
    if correction:
        root_array, norms_array = correction.array("inverse_root"), correction.array("norms")
        root, norms = root_array.read(0, root_array.shape[0]), norms_array.read(0, train.count)
    parts = range(0, query.count, config.queries_at_once)
    sides = []
    for start in parts:
        rows = query.read(start, min(start + config.queries_at_once, query.count))
        side = similarity.query_side(rows, root, config.unit_norm)
        sides.append(side.reshape(len(rows), -1))
    best = [Best(side.shape[0], min(config.top_k, train.count)) for side in sides]
    progress = Progress("score", train.count, "examples")
    size = min(train.shard_rows, train.count)
    for start in range(0, train.count, size):
        rows = train.read(start, min(start + size, train.count))
        # Equal rows get equal scores, bit for bit, only from one program: the last shard is filled with unranked rows.
        spare = size - len(rows)
        device_rows = jnp.asarray(np.pad(rows, ((0, spare), (0, 0), (0, 0)), constant_values=np.nan))
        if not config.unit_norm:
            sizes = jnp.ones(size)
        elif norms is None:
            sizes = similarity.norms(device_rows)
        else:
            sizes = jnp.asarray(np.pad(norms[start : start + size], (0, spare), constant_values=np.nan))
        flat = device_rows.reshape(size, -1)
        for keeper, side in zip(best, sides, strict=True):
            keeper.update(similarity.scores(side, flat, sizes), start)
        progress.advance(len(rows))
    return [keeper.ends() for keeper in best]


def _lines(ends: list[Ends], queries: list[str], ids: list[str], exact: dict[str, bool]) -> Iterator[dict[str, Any]]:
    def entries(end: tuple[np.ndarray, np.ndarray], row: int) -> list[dict[str, Any]]:
        places, scores = end
        return [
            {"id": ids[place], "score": float(score)}
            for place, score in zip(places[row], scores[row], strict=True)
            if place >= 0
        ]

    names = iter(queries)
    for part in ends:
        for row in range(len(part.proponents[0])):
            name = next(names)
            yield ranking.row(name, exact[name], entries(part.proponents, row), entries(part.opponents, row))
