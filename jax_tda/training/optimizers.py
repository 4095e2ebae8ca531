"""AdamW, Adafactor and SGD as chains of Optax transformations whose state keeps the second moments in plain sight."""

import dataclasses
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import optax

from jax_tda.core import trees
from jax_tda.core.bounds import Bound
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Decay, Fraction, NotNegative, Positive


@dataclasses.dataclass(frozen=True)
@declared("optimizer")
class OptimizerConfig:
    """How a gradient becomes an update.

    Attributes:
      name: "adamw", "adafactor" or "sgd", which keeps no second moments: encodings then need them estimated.
      peak_rate: the learning rate after the warmup.
      warmup_steps: steps over which the rate rises linearly to its peak.
      decay_to: the rate of the last step as a fraction of the peak, reached along a cosine; 0 is refused, because a
        final rate of 0 would make every later measurement that steps at that rate vanish.
      clip_norm: the largest global norm of a gradient; 0 means no clipping.
      weight_decay: the fraction of a kernel that one step at rate 1 takes away; embeddings and norms do not decay.
      b1: the decay of the first moment, of SGD the momentum, a sum instead of a mean; 0 keeps none.
      b2: AdamW's decay of the second moments.
      epsilon: AdamW's addition to the root of the second moments.
      decay_exponent: Adafactor's second moments decay by 1 − t^(−decay_exponent) at step t = 1, 2, ….
      min_dim_size_to_factor: Adafactor keeps row and column moments alone for arrays whose second largest dimension is
        at least this.
      factored_epsilon: Adafactor's addition to the squared gradient.
      update_clip: Adafactor's largest root mean square of one array's update, before the rate; 0 means no clipping.
    """

    name: Literal["adamw", "adafactor", "sgd"] = "adamw"
    peak_rate: Positive = 1e-3
    warmup_steps: Annotated[int, Bound(0, 10**9, unit="steps")] = 100
    decay_to: Fraction = 0.1
    clip_norm: NotNegative = 1.0
    weight_decay: NotNegative = 0.0
    b1: Decay = 0.9
    b2: Decay = 0.98
    epsilon: Positive = 1e-8
    decay_exponent: Positive = 0.8
    min_dim_size_to_factor: Annotated[int, Bound(1, 2**31 - 1)] = 128
    factored_epsilon: Positive = 1e-30
    update_clip: NotNegative = 1.0


def rate(config: OptimizerConfig, step: jax.typing.ArrayLike, steps: int) -> jax.Array:
    """The learning rate of step 0, 1, …, steps − 1: a linear rise, then half a cosine down to decay_to · peak.

    With w warmup steps, rate(t) = peak · (t + 1) / w for t < w, and afterwards
    peak · (decay_to + (1 − decay_to) · (1 + cos(π · f)) / 2) where f goes from 0 at t = w to 1 at the last step.
    """
    step = jnp.asarray(step, jnp.float32)
    rising = (step + 1) / max(config.warmup_steps, 1)
    fraction = jnp.clip((step - config.warmup_steps) / max(steps - 1 - config.warmup_steps, 1), 0, 1)
    falling = config.decay_to + (1 - config.decay_to) * (1 + jnp.cos(jnp.pi * fraction)) / 2
    return config.peak_rate * jnp.where(step < config.warmup_steps, rising, falling)


def kernels(params: Any) -> Any:
    """The tree of booleans that says which leaves are kernels, by the last component of their paths."""
    return jax.tree_util.tree_map_with_path(lambda keys, _: trees.path_of(keys[-1:]) == "kernel", params)


def make(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """The optimizer of a run of so many steps.

    The gradient is clipped, divided by the root of its second moments, decayed and scaled by −rate, in this order, so
    the second moments in the state are those of clipped gradients. Adafactor (Shazeer & Stern, arXiv 1804.04235) comes
    without its scaling by the parameter's size.
    """
    parts = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    if config.name == "adamw":
        parts.append(optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.epsilon))
    elif config.name == "sgd":
        if config.b1:
            parts.append(optax.trace(config.b1))
    else:
        parts.append(
            optax.scale_by_factored_rms(
                decay_rate=config.decay_exponent,
                min_dim_size_to_factor=config.min_dim_size_to_factor,
                epsilon=config.factored_epsilon,
            )
        )
        if config.update_clip:
            parts.append(optax.clip_by_block_rms(config.update_clip))
        if config.b1:
            parts.append(optax.ema(config.b1))
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=kernels))
    parts.append(optax.scale_by_learning_rate(lambda count: rate(config, count, steps)))
    return optax.chain(*parts)
