"""What a run's rankings, corpus, queries and answers give a page, or a results file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.artifacts import foreign_ranking, method_words
from jax_tda.artifacts.artifact import Reader
from jax_tda.data.corpus import Corpus
from jax_tda.evaluation import belonging
from jax_tda.viewer.material import Material


def material(
    rankings: Mapping[str, Sequence[Mapping[str, Any]]],
    readers: Mapping[str, Reader],
    corpus: Corpus,
    queries: Corpus,
    answers: Reader | None,
    report: Mapping[str, Any] | None,
) -> Material:
    """All of it, with the texts of the passages that some ranking names, of however many there are.

    Args:
      rankings: rows by method.
      readers: the artifacts among them.
      corpus: its ids, texts and documents.
      queries: with their gold, which may name pieces.
      answers: the artifact; none where nothing is known of the model's own.
      report: none where nobody judged.
    """
    ends = foreign_ranking.ENDS
    named = {e["id"] for rows in rankings.values() for row in rows for end in ends for e in row.get(end, [])}
    shown = {name: corpus.records[row] for name in sorted(named) if (row := corpus.row_of(name)) is not None}
    asked = [
        record["fields"]
        | {name: record[name] for name in ("id", "prompt", "target", "gold", "weak") if name in record}
        | {name: sorted(belonging.documents(corpus, record[name])) for name in ("gold", "weak") if name in record}
        for record in queries.records
    ]
    return Material(
        queries=asked,
        passages={name: record["fields"] | {"text": record["text"]} for name, record in shown.items()},
        rankings=rankings,
        words=method_words.of_rankings(rankings, readers),
        documents={name: record["document"] for name, record in shown.items()},
        answers=_answers(answers) if answers else {},
        report=report,
    )


def _answers(answers: Reader) -> dict[str, dict[str, Any]]:
    """The model's likeliest answer to each query, and the probability it gives the target."""
    return {
        row["query_id"]: {
            "likeliest": row["likeliest"],
            "probability": math.exp(row["target_log_probability"]),
            "answered_exactly": row["answered_exactly"],
        }
        for row in answers.read_lines("answers.jsonl")
    }
