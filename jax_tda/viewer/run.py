"""show: from a report, its rankings and the texts to a page that opens from disk."""

import dataclasses
from collections.abc import Mapping

from jax_tda.artifacts import dense_scores, ranking
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.data import corpus as corpora
from jax_tda.evaluation import banked, belonging
from jax_tda.viewer import gather, histograms, page, shading
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
      scores: scores of every document for every query, by method, as `evaluate.scores`; their histograms stand on the
        page. Empty for none.
      shades: shares of one ranking's scores by token, by `shade`; its words are then underlined. Empty for none.
      shaded_by: a passage's words are underlined by their own loss (`foretold`), or by what follows them (`read`).
      page: how much of it is shown.
    """

    report: Path = input_path(required=True)
    rankings: Path = input_path(required=True)
    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    answers: Path = input_path()
    scores: Path = input_path()
    shades: Path = input_path()
    shaded_by: shading.Side = "foretold"
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
    dense = dense_scores.read_all(config.scores) if config.scores else {}
    banked.check_scores(dense, inputs)
    shown: Mapping[str, shading.Rows] = rankings
    if config.shades:
        inputs["shades"] = open_artifact(config.shades, "shades")
        shown = shading.added(rankings, inputs["shades"], readers, foreign, corpus, queries, config.shaded_by)
    described = settings(config) | {"foreign_rankings": foreign}
    if strangers := {name: scores.digest for name, scores in dense.items() if scores.reader is None}:
        described["foreign_scores"] = strangers
    inputs |= {f"scores_{name}": scores.reader for name, scores in dense.items() if scores.reader}
    inputs |= {f"ranking_{name}": reader for name, reader in readers.items()}
    writer = begin(output, KIND, described, inputs)
    if isinstance(writer, Reader):
        return writer
    report_read = report.read_json("report.json")
    with_bins = histograms.added(shown, dense, queries.ids)
    material = gather.material(with_bins, readers, corpus, queries, inputs.get("answers"), report_read)
    files = page.render(material, config.page)
    for name, data in files.items():
        writer.write_bytes(name, data)
    return writer.finish({"queries": queries.count, "methods": sorted(rankings)})


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
