"""Bytes per chip of the exact encoding step compiled for a TPU, with the kernel and with XLA's own products.

    pip install -e '.[tpu_compile]'
    JAX_PLATFORMS=cpu python benchmarks/exact_kernel.py [--alone] [--dtype bfloat16] [--precision default] […]

Hardware: any CPU; libtpu compiles for a topology that is not there. Some minutes at the defaults. Expected: one JSON
line, in which the kernel's temporaries hold no per-example gradient of batch × width × mlp_width × 4 bytes
(docs/decisions/0016).
"""

import argparse
import json
import os

# libtpu reads these when it is loaded: no chip is asked for, none is waited for or locked.
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import topologies
from jax.sharding import NamedSharding, PartitionSpec

from jax_tda.core import mesh as meshes
from jax_tda.encoding import exact_kernel, probe
from jax_tda.encoding.encoder import Encoder
from jax_tda.encoding.second_moments import second_moments_from
from jax_tda.models.decoder import Decoder, DecoderConfig

KERNEL = exact_kernel.projected_gradient


def encoder(options):
    """An exact encoder of a decoder that was never trained: only shapes matter here, and V must not be of rank one."""
    heads = max(options.width // 64, 1)
    config = DecoderConfig(
        vocabulary_size=256,
        layers=options.layers,
        width=options.width,
        heads=heads,
        kv_heads=heads,
        mlp_width=options.mlp_width,
        dtype=options.dtype,
    )
    model = Decoder(config)
    params = model.init(jax.random.key(0), jnp.zeros((1, 2), jnp.int32))["params"]
    adam = optax.scale_by_adam()
    moments = second_moments_from(adam.update(params, adam.init(params))[1])
    return Encoder(model, params, moments, projected_size=options.projected_size, reduction="exact")


def step(options, mesh):
    """One batch of an encoder on every chip, each with its own examples, and its arguments."""
    made, whole, split = encoder(options), PartitionSpec(), PartitionSpec(meshes.DATA)
    examples = np.zeros((options.batch * mesh.size, options.context), np.int32)
    placed = jax.shard_map(
        made.program.encode_batch, mesh=mesh, in_specs=(whole, whole, split, split), out_specs=split, check_vma=False
    )
    return placed, [(made.leaves, whole), (made.sides, whole), (examples, split), (np.float32(examples), split)]


def product(options, mesh):
    """One layer's gradient of the probe alone, of a batch of examples on every chip, and its arguments."""
    b, t, p, rows, columns = (
        getattr(options, name) for name in ("batch", "context", "projected_size", "width", "mlp_width")
    )
    whole, split, dtype = PartitionSpec(), PartitionSpec(meshes.DATA), jnp.dtype(options.dtype)

    def gradients(*arguments):
        return jax.vmap(probe.exact_gradient, (0, 0, None, None, None))(*arguments)

    specs = (split, split, whole, whole, whole)
    placed = jax.shard_map(gradients, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    sides = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((p, rows), (p, columns), (rows, columns))]
    given = [jax.ShapeDtypeStruct((b * mesh.size, t, size), dtype) for size in (rows, columns)]
    return placed, list(zip((*given, *sides), specs, strict=True))


def compiled(options, mesh, products):
    """What the compiler says about the program when `products` form its gradients."""
    exact_kernel.projected_gradient = products
    program, arguments = (product if options.alone else step)(options, mesh)

    def shaped(array, spec):
        return jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=NamedSharding(mesh, spec))

    described = [jax.tree.map(lambda array, spec=spec: shaped(array, spec), tree) for tree, spec in arguments]
    with jax.default_matmul_precision(options.precision):
        made = jax.jit(program).lower(*described).compile()
    memory = made.memory_analysis()
    return {
        "temporaries": memory.temp_size_in_bytes,
        "arguments": memory.argument_size_in_bytes,
        "kernel_calls": made.as_text().count('custom_call_target="tpu_custom_call"'),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"layers": 2, "width": 1024, "mlp_width": 4096, "batch": 8, "context": 1024, "projected_size": 64}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--precision", default="highest", choices=("highest", "default"))
    parser.add_argument("--topology", default="v5e:2x2")
    parser.add_argument("--alone", action="store_true", help="one layer's product, width × mlp_width, without a model")
    options = parser.parse_args()
    mesh = meshes.make_mesh(devices=topologies.get_topology_desc(options.topology, "tpu").devices)
    gradient = options.batch * options.width * options.mlp_width * 4
    found = {name: compiled(options, mesh, how) for name, how in (("kernel", KERNEL), ("xla", probe.xla_gradient))}
    print(json.dumps(vars(options) | {"bytes_of_gradients": gradient} | found))


if __name__ == "__main__":
    main()
