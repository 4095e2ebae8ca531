"""rank: from two sets of encodings to proponents and opponents, in memory."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from jax_tda.attribution import curvature as curvatures
from jax_tda.attribution import similarity
from jax_tda.attribution.top_k import Best, Ends
from jax_tda.core.errors import InputError


def rank(
    train: Mapping[str, np.ndarray],
    query: Mapping[str, np.ndarray],
    curvature: Mapping[str, np.ndarray] | None = None,
    k: int = 100,
    damping: float = 0.1,
) -> Ends:
    """Ranks training examples for each query by I = Ḡ(t)·Ḡ(q), Ḡ = G/‖G‖, G = R^(-1/2) g.

    Args:
      train: encodings of the corpus, `{block: [N, p, p]}`.
      query: encodings of the queries, `{block: [Q, p, p]}`.
      curvature: `{block: [p², p²]}`, already mixed; None is the identity.
      k: how many of each end; at most N are returned.
      damping: in units of each block's mean eigenvalue.

    Returns:
      `proponents` and `opponents`, each a pair (rows, scores) of arrays [Q, min(k, N)], the best (the worst) first,
      ties by row. Examples whose encoding is zero or not finite are not ranked; a place nobody fills has row −1 and
      score NaN.

    Raises:
      InputError: the blocks or shapes of the three do not fit each other, R is singular, or k is not positive.
    """
    if k < 1:
        raise InputError("rank cannot return so few", got=f"k = {k}", expected="k ≥ 1", remedy="raise k")
    if not damping >= 0:
        raise InputError("damping is not possible", got=damping, expected="0 or more", remedy="0.1 is the default")
    names = tuple(sorted(train))
    rows, queries = _stacked(train, names, "train"), _stacked(query, names, "query")
    if rows.shape[1:] != queries.shape[1:]:
        raise _misfit(f"train encodings {rows.shape[1:]}, query encodings {queries.shape[1:]}")
    root = None
    if curvature is not None:
        if tuple(sorted(curvature)) != names:
            raise _misfit(f"curvature of {sorted(curvature)}, encodings of {list(names)}")
        mixed = np.stack([np.asarray(curvature[name], np.float64) for name in names])
        if mixed.shape[1:] != (rows.shape[2], rows.shape[2]):
            raise _misfit(f"curvature {mixed.shape[1:]} for blocks of {rows.shape[2]}")
        root = curvatures.inverse_root(mixed, damping, names)
    side = similarity.query_side(queries, root, unit_norm=True)
    device_rows = jnp.asarray(rows)
    whitened = device_rows if root is None else similarity.whiten(device_rows, jnp.asarray(root, jnp.float32))
    best = Best(queries.shape[0], min(k, rows.shape[0]))
    # 0/0 of a zero encoding is NaN, which is how an example says that it is not ranked.
    flat = side.reshape(side.shape[0], -1)
    best.update(similarity.scores(flat, device_rows, similarity.norms(whitened)), 0)
    return best.ends()


def _stacked(encodings: Mapping[str, np.ndarray], names: tuple[str, ...], stream: str) -> np.ndarray:
    if tuple(sorted(encodings)) != names:
        raise _misfit(f"{stream} blocks {sorted(encodings)}, train blocks {list(names)}")
    arrays = [np.asarray(encodings[name], np.float32) for name in names]
    return np.stack([array.reshape(array.shape[0], -1) for array in arrays], axis=1)


def _misfit(got: str) -> InputError:
    return InputError(
        "encodings and curvature do not fit each other",
        got=got,
        expected="the same blocks and sizes everywhere, from one Encoder",
        remedy="encode both streams with the same Encoder and estimate the curvature from its encodings",
    )
