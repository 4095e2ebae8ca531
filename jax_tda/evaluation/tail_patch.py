"""Tail-patch: how much one training step on a retrieved passage raises P(target | prompt).

θ ← θ − rate · g / (√V̂ + ε), with g the gradient of the passage's mean loss and V̂ the checkpoint's own second moments,
not updated by g; no momentum, weight decay, schedule or clipping. The change of P(target | prompt), the product of the
target tokens' probabilities, is averaged over a query's first proponents and reported in percentage points.
Source: TrackStar (arXiv 2410.17413); its rate and batch are unknown, ours are options that every report prints.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jax_tda.core import mesh as meshes
from jax_tda.core import seeds
from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import MOST_AT_ONCE, Queries, Seed
from jax_tda.data.corpus import Corpus
from jax_tda.models import likelihood
from jax_tda.models.batch_gradient import mean_loss_and_gradient
from jax_tda.models.interface import Examples

Step = Callable[[Any, Any], Any]
_QUERIES_PER_CALL, _PASSAGES_AT_ONCE = 4, 256


@dataclasses.dataclass(frozen=True)
@declared("tail_patch")
class TailPatchConfig:
    """How the step is taken, and for which queries.

    Args:
      kind: `preconditioned` (the step above) or `full_step` (the optimizer's own, momentum and decay included).
      rate: learning rate; −1 takes a tenth of the checkpoint's peak rate.
      queries: how many are sampled from all queries.
      proponents: how many of each query's are patched.
      seed: of the sample.
    """

    kind: Literal["preconditioned", "full_step"] = "preconditioned"
    rate: Annotated[
        float,
        Bound(above=0, at_most=1e6, also=(-1,), meaning="−1 for a tenth of the peak rate; a step of 0 changes nothing"),
    ] = -1.0
    queries: Queries = 150
    proponents: Annotated[int, Bound(1, MOST_AT_ONCE, unit="proponents")] = 10
    seed: Seed = 0


def sample(query_ids: Sequence[str], size: int, seed: int) -> list[str]:
    """A seeded sample of queries, in their own order; all of them when there are no more than `size`."""
    if len(query_ids) <= size:
        return list(query_ids)
    chosen = seeds.generator(seed, "tail patch", "queries").choice(len(query_ids), size, replace=False)
    return [query_ids[index] for index in sorted(chosen)]


def preconditioned(rate: float, inverse_root: Any) -> Step:
    """The step θ − rate · g · inverse_root, with inverse_root = 1 / (√V̂ + ε) for every parameter."""

    def step(inverse_root: Any, params: Any, gradient: Any) -> Any:
        return jax.tree.map(lambda p, g, r: (p - rate * g * r).astype(p.dtype), params, gradient, inverse_root)

    # A tree of what it holds, so that it is an argument of what is compiled, wherever its arrays lie.
    return jax.tree_util.Partial(step, inverse_root)


def full(rate: float, scheduled: float, optimizer: optax.GradientTransformation, opt_state: Any) -> Step:
    """The optimizer's own next step, its scheduled rate replaced by `rate`."""

    def step(opt_state: Any, params: Any, gradient: Any) -> Any:
        updates, _ = optimizer.update(gradient, opt_state, params)
        return jax.tree.map(lambda p, u: (p + u * (rate / scheduled)).astype(p.dtype), params, updates)

    return jax.tree_util.Partial(step, opt_state)


def changes(
    model: Any, params: Any, step: Step, pairs: Mapping[int, Sequence[int]], corpus: Corpus, queries: Corpus
) -> dict[tuple[int, int], float]:
    """The change of P(target | prompt) of query q after one step on passage t, for every asked pair (t, q).

    One step is taken per passage, whichever methods and queries ask for it. On a mesh that weights are divided
    over, all data groups take the same step together: each holds its part of the one set of patched parameters.

    Args:
      model: the language model.
      params: its parameters, wherever they lie; patched ones lie there too.
      step: (parameters, gradient) → parameters.
      pairs: passage row → query rows.
      corpus: the passages.
      queries: the queries.
    """
    if not pairs:
        return {}

    places = jax.tree.map(lambda leaf: leaf.sharding, params)
    mesh = getattr(jax.tree.leaves(places)[0], "mesh", None)
    step = step if isinstance(step, jax.tree_util.Partial) else jax.tree_util.Partial(step)

    @functools.partial(jax.jit, out_shardings=places)
    def patch(step: Step, params: Any, passage: Examples) -> Any:
        return step(params, mean_loss_and_gradient(model, params, passage)[1])

    @functools.partial(jax.jit, out_shardings=None if mesh is None else meshes.replicated(mesh))
    def probability(params: Any, asked: Mapping[str, jax.Array]) -> jax.Array:
        logits = model.apply({"params": params}, asked["tokens"])
        return jnp.exp(likelihood.target_log_probability(logits, asked["tokens"], asked["loss_weights"]))

    asked = sorted({query for wanted in pairs.values() for query in wanted})
    place = {query: index for index, query in enumerate(asked)}
    held = queries.examples(np.array(asked), queries.longest, len(asked))

    def probabilities(params: Any, wanted: Sequence[int]) -> dict[int, float]:
        found: dict[int, float] = {}
        for start in range(0, len(wanted), _QUERIES_PER_CALL):
            part = wanted[start : start + _QUERIES_PER_CALL]
            rows = [place[query] for query in part]
            rows += rows[:1] * (_QUERIES_PER_CALL - len(rows))  # One shape compiles once.
            values = np.asarray(probability(params, {name: value[rows] for name, value in held.items()}))
            found |= {query: float(value) for query, value in zip(part, values, strict=False)}
        return found

    before = probabilities(params, asked)
    changed: dict[tuple[int, int], float] = {}
    rows = sorted(pairs)
    progress = Progress("tail-patch", len(rows), "steps")
    for start in range(0, len(rows), _PASSAGES_AT_ONCE):
        part = rows[start : start + _PASSAGES_AT_ONCE]
        passages = corpus.examples(np.array(part), corpus.longest, len(part))
        for index, passage in enumerate(part):
            own: Any = {name: value[index] for name, value in passages.items()}
            patched = patch(step, params, own)
            after = probabilities(patched, pairs[passage])
            changed |= {(passage, query): value - before[query] for query, value in after.items()}
            progress.advance()
    return changed


def per_query(
    proponents: Mapping[str, Sequence[int]], query_rows: Mapping[str, int], found: Mapping[tuple[int, int], float]
) -> dict[str, float | None]:
    """Each query's mean change over its proponents, in percentage points; None when it has none."""
    means: dict[str, float | None] = {}
    for name, rows in proponents.items():
        values = [found[row, query_rows[name]] for row in rows]
        finite = [value for value in values if np.isfinite(value)]
        means[name] = 100.0 * float(np.mean(finite)) if finite else None
    return means
