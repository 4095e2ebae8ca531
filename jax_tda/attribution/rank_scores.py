"""rank_scores: from the scores of every pair, or of candidates alone, to a ranking like any other."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.method_words import MethodWords, as_facts
from jax_tda.artifacts.together import by_first
from jax_tda.attribution import dense, lines
from jax_tda.attribution.top_k import Best, Ends
from jax_tda.core.config import input_path, naming, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Name, Path, TopK

# Columns that are read at a time.
_COLUMNS = 1 << 16


@dataclasses.dataclass(frozen=True)
@declared("rank_scores")
class RankScoresConfig:
    """Which scores become a ranking.

    Args:
      scores: of `score_densely` or `rescore`.
      answers: which queries the model answers exactly, carried into the ranking.
      method: the ranking's name.
      top_k: how many of each end are kept.
      words: how tables and pages show the method.
    """

    scores: Path = input_path(required=True)
    answers: Path = input_path(required=True)
    method: Name = "rescored"
    top_k: TopK = 100
    words: MethodWords = naming(MethodWords())


def plan(config: RankScoresConfig, output: str) -> str:
    """What the job would do."""
    return f"rank_scores: {config.method}, top {config.top_k} of {config.scores} → {output}"


@by_first
def run(config: RankScoresConfig, output: str) -> Reader:
    """Writes one ranking, `METHOD.jsonl`, with a line for every query; what has no score is not ranked."""
    scores, answers = open_artifact(config.scores, dense.KIND), open_artifact(config.answers, "answers")
    names = [row["id"] for row in scores.read_lines("query_ids.jsonl")]
    exact = {row["query_id"]: row["answered_exactly"] for row in answers.read_lines("answers.jsonl")}
    if missing := [name for name in names if name not in exact]:
        raise InputError(
            f"the answers {answers} are not those of the queries of {scores}",
            got=f"no answer for {len(missing)} queries, such as {missing[0]!r}",
            expected="an answer for every query",
            remedy="run answer with these queries",
        )
    writer = begin(output, ranking.KIND, settings(config), {"scores": scores, "answers": answers}, name=config.method)
    if isinstance(writer, Reader):
        return writer
    ids = [row["id"] for row in scores.read_lines("ids.jsonl")]
    array, unscored = scores.array("scores"), 0

    def ends_of(row: int) -> Ends:
        nonlocal unscored
        values = np.asarray(array.read(row, row + 1))
        unscored += int((~np.isfinite(values)).sum())
        best = Best(1, min(config.top_k, len(ids)))
        for start in range(0, len(ids), _COLUMNS):
            best.update(jnp.asarray(values[:, start : start + _COLUMNS]), start)
        return best.ends()

    rows = lines.of(map(ends_of, range(len(names))), names, ids, exact, config.top_k)
    count = writer.write_lines(f"{config.method}.jsonl", rows)
    kept = {name: scores.manifest.facts[name] for name in ("unit", "sign") if name in scores.manifest.facts}
    facts = {"method": config.method, "queries": count, "pairs_without_score": unscored}
    return writer.finish(facts | kept | as_facts(config.words))
