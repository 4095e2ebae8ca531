"""Every method of the pipeline, one row each: what it is called, what it is made of, and what it is compared with."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Method:
    """A way to a ranking.

    Its words travel in the ranking's manifest; judges and pages read them there.

    Args:
      name: of its ranking, as a file.
      label: in tables; one that begins with spaces adds one thing to the method above it.
      about: one short sentence.
      encodings: which encodings are scored; empty for a method without encodings, which the job `rank_baseline` makes.
      correction: which curvature they are corrected by; empty for none.
      unit_norm: whether scores are cosines.
      compared_with: methods that its figures are compared with, on the same queries.
      score: what its scores mean.
    """

    name: str
    label: str
    about: str
    encodings: Literal["", "encodings", "encodings_plain", "embeddings"] = ""
    correction: Literal["", "r_train", "trackstar"] = ""
    unit_norm: bool = True
    compared_with: tuple[str, ...] = ()
    score: str = "cosine of the two gradients, 1 for the same direction"


_SHARED = "weight of the words that both share, rare ones weighing more"

# From the emptiest control to the ground truth; every gradient method adds one thing to the one before it.
METHODS = (
    Method("random", "random", "passages drawn blindly", score="a number drawn by lot; it means nothing"),
    Method("bm25_prompt", "BM25 (prompt)", "shared words, without the target", score=_SHARED),
    Method("bm25", "BM25 (prompt + target)", "shared words", score=_SHARED),
    Method(
        "embedding",
        "text embedding",
        "cosine of a sentence encoder's vectors",
        "embeddings",
        score="cosine of the two texts' vectors, 1 for the same direction",
    ),
    Method(
        "grad_dot",
        "gradient dot",
        "dot product of projected gradients",
        "encodings_plain",
        unit_norm=False,
        score="dot product of the two gradients, larger for longer ones",
    ),
    Method("grad_cosine", "gradient cosine", "the same, at unit norm", "encodings_plain"),
    Method("second_moments", "  + second moments", "gradients divided by the optimizer’s √V", "encodings"),
    Method("r_train", "  + R of train", "and whitened by the corpus", "encodings", "r_train"),
    Method(
        "trackstar",
        "TrackStar",
        "and by corpus and queries mixed",
        "encodings",
        "trackstar",
        compared_with=("grad_cosine", "bm25"),
    ),
    Method("gold", "gold", "the passages known to state the fact", score="1 for each"),
)


def words(method: Method) -> dict[str, Any]:
    """What the job that makes the ranking is told to write into its manifest."""
    # The last row is the ground truth: rankings of other tools, which have no place, stand before it.
    last = method is METHODS[-1]
    found: dict[str, Any] = {
        "method.label": method.label,
        "method.about": method.about,
        "method.score": method.score,
        "method.place": 1000 if last else METHODS.index(method),
    }
    return found | ({"method.compared_with": method.compared_with} if method.compared_with else {})
