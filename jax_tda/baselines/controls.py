"""The two rankings that frame every other one: the passages known to state the fact, and passages drawn blindly."""

from collections.abc import Iterator, Sequence

import numpy as np

from jax_tda.core.seeds import generator

# (corpus row, score) pairs, the strongest first.
Rows = list[tuple[int, float]]


def gold(gold_rows: Sequence[int], k: int) -> tuple[Rows, Rows]:
    """Proponents are one query's gold passages in corpus order, at score 1; there are no opponents.

    Args:
      gold_rows: corpus rows of the gold passages (all pieces of a split document), in any order.
      k: the most entries.
    """
    return [(row, 1.0) for row in sorted(set(gold_rows))[:k]], []


def random(seed: int, query_ids: Sequence[str], corpus_size: int, k: int) -> Iterator[tuple[Rows, Rows]]:
    """Yields proponents and opponents of each query, drawn without replacement; no row depends on another query.

    Scores are uniform in [0, 1), sorted, and mean nothing. As in any ranking, the two lists share rows only when the
    corpus holds fewer than 2 k. At most 10,000 or 100 k rows are ever held, however large the corpus.

    Args:
      seed: root seed.
      query_ids: one id per query.
      corpus_size: number of passages.
      k: the most entries of each list.
    """
    drawn = min(2 * k, corpus_size)
    for query_id in query_ids:
        draw = generator(seed, "random ranking", query_id)
        rows = draw.choice(corpus_size, size=drawn, replace=False)
        scores = np.sort(draw.random(drawn))[::-1]
        ranked = [(int(row), float(score)) for row, score in zip(rows, scores, strict=True)]
        yield ranked[:k], ranked[::-1][:k]
