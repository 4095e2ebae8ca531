"""Everything that a page is made of, wherever it came from: a run's artifacts or somebody's results files."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.artifacts.method_words import MethodWords


@dataclasses.dataclass(frozen=True)
class Material:
    """What there is to show.

    Args:
      queries: records with `id`, `prompt`, `target`, and where known `gold`, `weak` and further fields; in the order of
        the page.
      passages: records with `text` and further fields, by the ids that the rankings use; an id that is missing is shown
        without text.
      rankings: by method, one record per query: `query_id`, `proponents` and, where known, `opponents`,
        `answered_exactly` and `histogram` (`low`, `high`, `counts` of equal bins over the whole corpus). Each entry has
        an `id` and, where known, `score`, `correct` (which overrules gold), `note` and `shares` ([start, end, share]
        over characters of its text).
      words: what methods say of themselves; one that is missing is called by its name.
      documents: document of each piece of a split document, by the piece's id; other ids are their own documents.
      answers: the model's own answers by the query's id: `likeliest` and `probability`, of the target.
      report: as `evaluation.summary.report` makes it; none for rankings that nobody judged.
    """

    queries: Sequence[Mapping[str, Any]]
    passages: Mapping[str, Mapping[str, Any]]
    rankings: Mapping[str, Sequence[Mapping[str, Any]]]
    words: Mapping[str, MethodWords] = dataclasses.field(default_factory=dict)
    documents: Mapping[str, str] = dataclasses.field(default_factory=dict)
    answers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    report: Mapping[str, Any] | None = None
