"""show: from a report, its rankings and the texts to a page that opens from disk."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jax_tda.artifacts import method_words, ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.data import corpus as corpora
from jax_tda.evaluation import belonging
from jax_tda.viewer import page
from jax_tda.viewer.material import Material
from jax_tda.viewer.settings import PageConfig

KIND = "page"


@dataclasses.dataclass(frozen=True)
@declared("show")
class ShowConfig:
    """What the page shows.

    Args:
      report: directory that holds `report.json`.
      rankings: directory of rankings.
      corpus: the tokenized corpus, with its texts.
      queries: the tokenized queries.
      answers: the model's own answers, by `answer`; empty for a page without them.
      page: how much of it is shown.
    """

    report: Path = input_path(required=True)
    rankings: Path = input_path(required=True)
    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    answers: Path = input_path()
    page: PageConfig = dataclasses.field(default_factory=PageConfig)


def plan(config: ShowConfig, output: str) -> str:
    """What the job would do."""
    return f"show: a page of {config.rankings} and {config.report} → {output}"


@by_first
def run(config: ShowConfig, output: str) -> Reader:
    """Writes the page artifact."""
    report = open_artifact(config.report, "report", name="report")
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    rankings, readers, foreign = ranking.read_all(config.rankings)
    for name, rows in rankings.items():
        belonging.check_rows(name, rows, corpus, queries)
    inputs = {"report": report, "corpus": corpus.reader, "queries": queries.reader}
    if config.answers:
        inputs["answers"] = open_artifact(config.answers, "answers")
    _check_report(report, inputs, readers, foreign)
    belonging.compare(readers, foreign, {name: inputs[name] for name in inputs if name != "report"})
    inputs |= {f"ranking_{name}": reader for name, reader in readers.items()}
    writer = begin(output, KIND, settings(config) | {"foreign_rankings": foreign}, inputs)
    if isinstance(writer, Reader):
        return writer
    # The page shows the passages that some ranking names, of however many there are.
    ends = ("proponents", "opponents")
    named = {e["id"] for rows in rankings.values() for row in rows for end in ends for e in row.get(end, [])}
    shown = {name: corpus.records[row] for name in sorted(named) if (row := corpus.row_of(name)) is not None}
    passages = {name: record["fields"] | {"text": record["text"]} for name, record in shown.items()}
    asked = [
        record["fields"]
        | {name: record[name] for name in ("id", "prompt", "target", "gold", "weak") if name in record}
        | {name: sorted(belonging.documents(corpus, record[name])) for name in ("gold", "weak") if name in record}
        for record in queries.records
    ]
    material = Material(
        queries=asked,
        passages=passages,
        rankings=rankings,
        words=method_words.of_rankings(rankings, readers),
        documents={name: record["document"] for name, record in shown.items()},
        answers=_answers(inputs["answers"]) if config.answers else {},
        report=report.read_json("report.json"),
    )
    files = page.render(material, config.page)
    for name, data in files.items():
        writer.write_bytes(name, data)
    return writer.finish({"queries": len(asked), "methods": sorted(rankings)})


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


def _check_report(
    report: Reader, texts: Mapping[str, Reader], rankings: Mapping[str, Reader], foreign: Mapping[str, str]
) -> None:
    """Refuses a report of other texts, or of rankings that were made anew since.

    Raises:
      InputError: a digest differs from the one that the report was made with.
    """
    given = {name: reader.manifest.digest for name, reader in texts.items() if name != "report"}
    given |= {f"ranking_{name}": reader.manifest.digest for name, reader in rankings.items()}
    judged = {name: described["digest"] for name, described in report.manifest.inputs.items()}
    given |= {f"ranking_{name}": digest for name, digest in foreign.items()}
    judged |= {f"ranking_{name}": digest for name, digest in report.manifest.settings["foreign_rankings"].items()}
    for name, digest in given.items():
        if judged.get(name, digest) != digest:
            raise InputError(
                f"the report {report} is of another {name.replace('_', ' ', 1)}",
                got=f"digest {digest[:12]}",
                expected=f"digest {judged[name][:12]}, which was judged",
                remedy="run evaluate again on what is shown, or show what it judged",
            )
