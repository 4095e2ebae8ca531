"""The training step of a decoder that is nowhere: shapes and places alone, so that a compiler can be asked."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jax_tda.core import mesh as meshes
from jax_tda.models.decoder import Decoder, DecoderConfig
from jax_tda.training import optimizers
from jax_tda.training.divided import Divided


def step_program(
    config: DecoderConfig,
    optimizer: optimizers.OptimizerConfig,
    mesh: Mesh,
    *,
    batch: int,
    context: int,
    weights: str = "",
) -> tuple[Any, tuple[Any, ...]]:
    """What `train` compiles for a batch of one length, and its arguments as `jax.ShapeDtypeStruct`s.

    Args:
      config: the decoder; `remat`, `dtype` and `parameter_dtype` are taken from it.
      optimizer: as of `train`.
      mesh: the devices, which may be those of a topology that is not there.
      batch: examples over all data groups.
      context: tokens of each.
      weights: as of `MeshConfig`.

    Returns:
      (a jitted function, its arguments): `function.lower(*arguments).compile()` asks the compiler.
    """
    divided = Divided(Decoder(config), optimizers.make(optimizer, 1000), mesh, weights)

    split = meshes.batch_sharding(mesh)
    examples = {
        "tokens": jax.ShapeDtypeStruct((batch, context), jnp.int32, sharding=split),
        "loss_weights": jax.ShapeDtypeStruct((batch, context), jnp.float32, sharding=split),
    }
    return divided.step(), (divided.placed, examples)
