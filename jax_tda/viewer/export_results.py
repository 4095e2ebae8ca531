"""export_results: rankings with their queries and texts, for other people's pages and tools."""

import dataclasses
from typing import Any, Literal

from jax_tda.artifacts import paper_results, ranking, results
from jax_tda.artifacts.artifact import Reader, begin, open_artifact
from jax_tda.artifacts.foreign_ranking import ENDS
from jax_tda.artifacts.together import by_first
from jax_tda.core.config import input_path, settings
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Path, TopK
from jax_tda.data import corpus as corpora
from jax_tda.evaluation import belonging
from jax_tda.viewer import gather

KIND = "results"


@dataclasses.dataclass(frozen=True)
@declared("export_results")
class ExportResultsConfig:
    """What is written, in which form.

    Args:
      rankings: directory of rankings.
      corpus: the tokenized corpus, with its texts.
      queries: the tokenized queries.
      answers: the model's own answers, by `answer`; empty for none.
      form: `jax_tda`, one file of all methods (docs/page.md), or `paper`, one file per method as TrackStar's authors
        describe theirs.
      top_k: of each end.
    """

    rankings: Path = input_path(required=True)
    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    answers: Path = input_path()
    form: Literal["jax_tda", "paper"] = "jax_tda"
    top_k: TopK = 20


def plan(config: ExportResultsConfig, output: str) -> str:
    """What the job would do."""
    return f"export_results: rankings in {config.rankings}, in the form {config.form} → {output}"


@by_first
def run(config: ExportResultsConfig, output: str) -> Reader:
    """Writes `results.jsonl`, or a file `METHOD.jsonl` for each method."""
    corpus, queries = corpora.open_corpus(config.corpus), corpora.open_corpus(config.queries)
    rankings, readers, foreign = ranking.read_all(config.rankings)
    inputs = {"corpus": corpus.reader, "queries": queries.reader}
    if config.answers:
        inputs["answers"] = open_artifact(config.answers, "answers")
    for name, rows in rankings.items():
        belonging.check_rows(name, rows, corpus, queries)
    belonging.compare(readers, foreign, inputs)
    inputs |= {f"ranking_{name}": reader for name, reader in readers.items()}
    writer = begin(output, KIND, settings(config) | {"foreign_rankings": foreign}, inputs)
    if isinstance(writer, Reader):
        return writer
    found = gather.material(rankings, readers, corpus, queries, inputs.get("answers"), None)
    golden = {query["id"]: set(query.get("gold") or ()) for query in found.queries}

    def entry(given: dict[str, Any], gold: set[str]) -> dict[str, Any]:
        # Gold are documents: whether a piece is right cannot be read off its id.
        document = found.documents.get(given["id"], given["id"])
        return given | ({"correct": document in gold} if gold and document != given["id"] else {})

    cut = {
        name: [
            row
            | {end: [entry(e, golden[row["query_id"]]) for e in row[end][: config.top_k]] for end in ENDS if end in row}
            for row in rows
        ]
        for name, rows in rankings.items()
    }
    given = results.Results(
        {query["id"]: dict(query) for query in found.queries},
        {name: dict(passage) for name, passage in found.passages.items()},
        cut,
        dict(found.words),
        {name: dict(answer) for name, answer in found.answers.items()},
    )
    if config.form == "jax_tda":
        writer.write_lines("results.jsonl", results.write(given))
    else:
        for name in cut:
            writer.write_lines(f"{name}.jsonl", paper_results.write(given, name))
    return writer.finish({"queries": queries.count, "methods": sorted(cut)})
