"""Tail-patch: how much one training step on a retrieved passage raises P(target | prompt).

θ ← θ − rate · g / (√V̂ + ε), with g the gradient of the passage's mean loss and V̂ the checkpoint's own second moments,
not updated by g; no momentum, weight decay, schedule or clipping. The change of P(target | prompt), the product of the
target tokens' probabilities, is averaged over a query's first proponents and reported in percentage points.
Source: TrackStar (arXiv 2410.17413); its rate and batch are unknown, ours are options that every report prints.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.data.corpus import Corpus
from jax_tda.models import likelihood
from jax_tda.training.step import mean_loss

Step = Callable[[Any, Any], Any]
_QUERIES_PER_CALL, _PASSAGES_PER_CALL = 4, 32


@dataclasses.dataclass(frozen=True)
class TailPatchConfig:
    """How the step is taken, and for which queries.

    Args:
      kind: `preconditioned` (the step above) or `full_step` (the optimizer's own, momentum and decay included).
      rate: learning rate; −1 takes a tenth of the checkpoint's peak rate.
      queries: how many are sampled from all queries.
      proponents: how many of each query's are patched.
      seed: of the sample.
    """

    kind: str = "preconditioned"
    rate: float = -1.0
    queries: int = 150
    proponents: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rate == 0 or self.kind not in ("preconditioned", "full_step"):
            raise InputError(
                "the tail-patch step is not possible",
                got=f"kind {self.kind}, rate {self.rate}",
                expected="kind preconditioned or full_step, and a rate that is not 0: a step of 0 changes nothing",
                remedy="set tail_patch.rate to a constant such as a tenth of the peak rate (−1 does that)",
            )


def sample(query_ids: Sequence[str], size: int, seed: int) -> list[str]:
    """A seeded sample of queries, in their own order; all of them when there are no more than `size`."""
    if len(query_ids) <= size:
        return list(query_ids)
    chosen = seeds.generator(seed, "tail patch", "queries").choice(len(query_ids), size, replace=False)
    return [query_ids[index] for index in sorted(chosen)]


def preconditioned(rate: float, inverse_root: Any) -> Step:
    """The step θ − rate · g · inverse_root, with inverse_root = 1 / (√V̂ + ε) for every parameter."""

    def step(params: Any, gradient: Any) -> Any:
        return jax.tree.map(lambda p, g, r: p - rate * g * r, params, gradient, inverse_root)

    return step


def full(rate: float, scheduled: float, optimizer: optax.GradientTransformation, opt_state: Any) -> Step:
    """The optimizer's own next step, its scheduled rate replaced by `rate`."""

    def step(params: Any, gradient: Any) -> Any:
        updates, _ = optimizer.update(gradient, opt_state, params)
        return jax.tree.map(lambda p, u: p + u * (rate / scheduled), params, updates)

    return step


def changes(
    model: Any, params: Any, step: Step, pairs: Mapping[int, Sequence[int]], corpus: Corpus, queries: Corpus
) -> dict[tuple[int, int], float]:
    """The change of P(target | prompt) of query q after one step on passage t, for every asked pair (t, q).

    One step is taken per passage, whichever methods and queries ask for it.

    Args:
      model: the language model.
      params: its parameters.
      step: (parameters, gradient) → parameters.
      pairs: passage row → query rows.
      corpus: the passages.
      queries: the queries.
    """

    def probability(params: Any, tokens: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.exp(likelihood.target_log_probability(model.apply({"params": params}, tokens), tokens, weights))

    @jax.jit
    def patch(params: Any, passages: Any, asked: Any) -> jax.Array:
        def one(arguments: Any) -> jax.Array:
            passage, query = arguments
            gradient = jax.grad(lambda p: mean_loss(model, p, passage["tokens"], passage["loss_weights"]))(params)
            patched = step(params, gradient)
            after = probability(patched, query["tokens"], query["loss_weights"])
            return after - probability(params, query["tokens"], query["loss_weights"])

        # One at a time: a patched copy of the parameters is as large as the model.
        return jax.lax.map(one, (passages, asked))

    calls = [
        (passage, tuple(asked[start : start + _QUERIES_PER_CALL]))
        for passage, asked in sorted(pairs.items())
        for start in range(0, len(asked), _QUERIES_PER_CALL)
    ]
    found: dict[tuple[int, int], float] = {}
    progress = Progress("tail-patch", len(calls), "steps")
    for start in range(0, len(calls), _PASSAGES_PER_CALL):
        part = calls[start : start + _PASSAGES_PER_CALL]
        filled = part + [part[0]] * (_PASSAGES_PER_CALL - len(part))
        passages = corpus.examples(np.array([p for p, _ in filled]), corpus.longest, len(filled))
        rows = np.array([(q + q[:1] * _QUERIES_PER_CALL)[:_QUERIES_PER_CALL] for _, q in filled])
        asked = queries.examples(rows.reshape(-1), queries.longest, rows.size)
        asked = {name: value.reshape(*rows.shape, -1) for name, value in asked.items()}
        result = np.asarray(patch(params, passages, asked))
        for (passage, wanted), values in zip(part, result, strict=False):
            found |= {(passage, query): float(value) for query, value in zip(wanted, values, strict=False)}
        progress.advance(len(part))
    return found


def per_query(
    proponents: Mapping[str, Sequence[int]], query_rows: Mapping[str, int], found: Mapping[tuple[int, int], float]
) -> dict[str, float | None]:
    """Each query's mean change over its proponents, in percentage points; None when it has none."""
    return {
        name: 100.0 * float(np.mean([found[row, query_rows[name]] for row in rows])) if len(rows) else None
        for name, rows in proponents.items()
    }
