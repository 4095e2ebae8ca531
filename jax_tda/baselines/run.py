"""rank_baseline: rankings that need no gradient, in the form that every method ends in."""

import dataclasses
from collections.abc import Iterable
from typing import Literal

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.method_words import MethodWords, as_facts
from jax_tda.artifacts.together import by_first
from jax_tda.baselines import controls, lexical
from jax_tda.core.config import input_path, naming, settings
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Path, Seed, TopK
from jax_tda.data import corpus as corpora

Method = Literal["bm25", "bm25_prompt", "gold", "random"]
_Ends = tuple[controls.Rows, controls.Rows]


@dataclasses.dataclass(frozen=True)
@declared("rank_baseline")
class RankBaselineConfig:
    """Which baseline.

    Args:
      corpus: the tokenized corpus, with its texts.
      queries: the tokenized queries.
      answers: which queries the model answers exactly.
      method: `bm25` (query = prompt + target), `bm25_prompt`, `gold` or `random`.
      top_k: how many of each end.
      seed: of `random`.
      bm25: BM25's settings.
      words: how tables and pages show the method.
    """

    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    answers: Path = input_path(required=True)
    method: Method = "bm25"
    top_k: TopK = 100
    seed: Seed = 0
    bm25: lexical.LexicalConfig = dataclasses.field(default_factory=lexical.LexicalConfig)
    words: MethodWords = naming(MethodWords())


def plan(config: RankBaselineConfig, output: str) -> str:
    """What the job would do."""
    return f"rank_baseline: {config.method}, top {config.top_k} of {config.corpus} for {config.queries} → {output}"


@by_first
def run(config: RankBaselineConfig, output: str) -> Reader:
    """Writes one ranking, `METHOD.jsonl`, with a line for every query."""
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    inputs = {"corpus": corpus.reader, "queries": queries.reader, "answers": open_artifact(config.answers, "answers")}
    writer = begin(output, ranking.KIND, settings(config), inputs, name=config.method)
    if isinstance(writer, Reader):
        return writer
    exact = {row["query_id"]: row["answered_exactly"] for row in inputs["answers"].read_lines("answers.jsonl")}
    ids = corpus.ids

    def entries(rows: controls.Rows) -> list[dict[str, object]]:
        return [{"id": ids[row], "score": score} for row, score in rows]

    lines = (
        ranking.row(name, exact[name], entries(best), entries(worst))
        for name, (best, worst) in zip(queries.ids, _rank(config, corpus, queries), strict=True)
    )
    count = writer.write_lines(f"{config.method}.jsonl", lines)
    return writer.finish({"method": config.method, "queries": count} | as_facts(config.words))


def _rank(config: RankBaselineConfig, corpus: corpora.Corpus, queries: corpora.Corpus) -> Iterable[_Ends]:
    if config.method == "random":
        return controls.random(config.seed, queries.ids, corpus.count, config.top_k)
    if config.method == "gold":
        golden = (
            [
                row
                for name in dict.fromkeys(corpus.document_of(name) or name for name in record["gold"])
                for row in corpus.documents.rows_of(name)
            ]
            for record in queries.records
        )
        return (controls.gold(found, config.top_k) for found in golden)
    field = "prompt" if config.method == "bm25_prompt" else "text"
    asked = [record[field] for record in queries.records]
    passages = [record["text"] for record in corpus.records]
    return lexical.bm25(passages, asked, config.top_k, config.bm25, corpus.vocabulary.encode)
