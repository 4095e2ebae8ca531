"""Small artifacts for attribution, written as encode and answer write them, and TrackStar in plain NumPy."""

import numpy as np

from jax_tda.artifacts import encodings as schema
from jax_tda.artifacts.artifact import begin

BLOCKS = ("layers_0-0/attention", "layers_0-0/mlp", "layers_1-1/mlp")
JOINED = {"checkpoint": "c0ffee", "projection": "p", "second_moments": "none"}


def write_encodings(path, values, *, status=None, shard_rows=7, blocks=BLOCKS, **facts):
    """An encodings artifact of [N, blocks, p, p]; rows that are flagged 2 are stored as NaN."""
    count, p = len(values), values.shape[-1]
    status = np.zeros(count, np.int8) if status is None else np.asarray(status, np.int8)
    values = np.where((status == schema.NOT_FINITE)[:, None, None, None], np.nan, values).astype(np.float32)
    writer = begin(str(path), schema.KIND, {"marker": float(np.nansum(values))}, {})
    for name, data, dtype in (("encodings", values, "float32"), ("status", status, "int8")):
        array = writer.array(name, data.shape, dtype, shard_rows)
        for start in range(0, count, shard_rows):
            array.write_shard(start, data[start : start + shard_rows])
    writer.write_lines("ids.jsonl", ({"id": f"{path.name}_{row}"} for row in range(count)))
    left_out = {name: int(np.sum(status == code)) for code, name in schema.STATUS_NAMES.items()}
    writer.finish(JOINED | {"blocks": list(blocks), "projected_size": p, "left_out": left_out} | facts)
    return str(path)


def write_answers(path, names, exact):
    """An answers artifact."""
    writer = begin(str(path), "answers", {}, {})
    writer.write_lines(
        "answers.jsonl", ({"query_id": n, "answered_exactly": bool(e)} for n, e in zip(names, exact, strict=True))
    )
    writer.finish({})
    return str(path)


def inverse_root(matrix, damping):
    """(R + damping · mean eigenvalue)^(-1/2) by np.linalg.eigh; R is taken to be positive semi-definite."""
    values, vectors = np.linalg.eigh(matrix + damping * np.trace(matrix) / len(matrix) * np.eye(len(matrix)))
    return vectors @ np.diag(values**-0.5) @ vectors.T


def trackstar(train, query, curvature=None, damping=0.1, unit_norm=True):
    """[Q, N] scores of [N, blocks, K] and [Q, blocks, K]: one pair at a time, float64."""

    def corrected(row):
        parts = [
            part if curvature is None else inverse_root(curvature[block], damping) @ part
            for block, part in enumerate(row.astype(np.float64))
        ]
        whole = np.concatenate(parts)
        return whole / np.linalg.norm(whole) if unit_norm else whole

    passages, queries = [corrected(row) for row in train], [corrected(row) for row in query]
    return np.array([[float(q @ t) for t in passages] for q in queries])


def ends(scores, k):
    """Rows and scores of the k best and the k worst, ties by row, in plain Python; NaN is not ranked."""
    best, worst = [], []
    for row in scores:
        ranked = [i for i in range(len(row)) if not np.isnan(row[i])]
        best.append(sorted(ranked, key=lambda i: (-row[i], i))[:k])
        worst.append(sorted(ranked, key=lambda i: (row[i], i))[:k])
    return best, worst
