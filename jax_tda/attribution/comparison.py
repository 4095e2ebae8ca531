"""What a passage is compared with: the queries' side, the passages' norms, and the correction behind both."""

from typing import NamedTuple

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.artifacts.encodings import EncodingStore, check_joinable
from jax_tda.attribution import mix, scan, similarity
from jax_tda.core.errors import InputError


class Comparison(NamedTuple):
    """The queries in parts, each [Q, D], and what finds the norms of a shard's passages."""

    sides: list[jax.Array]
    norms: scan.Norms

    def scores(self, shard: scan.Shard) -> list[jax.Array]:
        """[Q, N] scores of a shard for each part, NaN where a passage is not ranked."""
        return scan.score(shard, self.sides, self.norms(shard))


def open_correction(path: str, query: EncodingStore, train: EncodingStore | None) -> Reader:
    """Opens a correction for these queries and, where there is a store, these passages.

    Raises:
      InputError: it does not fit the encodings, or holds the norms of others.
    """
    correction = open_artifact(path, mix.KIND)
    check_joinable(train.reader if train else query.reader, correction)
    if train and _has_norms(correction):
        made_from = correction.manifest.inputs["encodings"]["digest"]
        if made_from != train.reader.manifest.digest:
            raise InputError(
                f"the norms of {path} are not those of {train.reader}",
                got=f"norms of encodings {made_from[:12]}",
                expected=f"norms of encodings {train.reader.manifest.digest[:12]}",
                remedy="run mix_curvature with these encodings",
            )
    return correction


def _has_norms(correction: Reader) -> bool:
    return "encodings" in correction.manifest.inputs


def between(
    query: EncodingStore, correction: Reader | None, unit_norm: bool, at_once: int, train: EncodingStore | None
) -> Comparison:
    """How passages are compared with queries under a correction or none.

    Args:
      query: the queries.
      correction: R^(-1/2), and norms that are taken where `train` is given.
      unit_norm: whether scores are cosines.
      at_once: queries per part.
      train: the store of the passages; None where they are not stored and their norms are computed.
    """
    root = None
    if correction:
        array = correction.array("inverse_root")
        root = array.read(0, array.shape[0])
    sides = query_sides(query, root, unit_norm, at_once)
    if not unit_norm:
        return Comparison(sides, scan.no_norms)
    if correction is None or root is None:
        return Comparison(sides, scan.plain_norms)
    if train and _has_norms(correction):
        return Comparison(sides, scan.stored_norms(correction.array("norms").read(0, train.count)))
    return Comparison(sides, scan.norms_under(root))


def query_sides(query: EncodingStore, root: np.ndarray | None, unit_norm: bool, at_once: int) -> list[jax.Array]:
    """R^(-1) g(q) in parts of `at_once` queries, [Q, D] each; over ‖R^(-1/2) g(q)‖ when scores are cosines."""
    sides = []
    for start in range(0, query.count, at_once):
        rows = query.read(start, min(start + at_once, query.count))
        sides.append(similarity.query_side(rows, root, unit_norm).reshape(len(rows), -1))
    return sides
