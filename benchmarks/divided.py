"""Bytes per chip of encoding and training with divided weights, as the TPU compiler counts them; of no chip at all.

    pip install -e '.[tpu_compile]'
    JAX_PLATFORMS=cpu python benchmarks/divided.py [--programs rank_one exact train] [--layers 32] [--remat 1] […]

Hardware: any CPU; libtpu compiles for a topology that is not there. At the defaults (8B parameters on v5e:16x16) two to
six minutes a program. Expected: one JSON line; every program fits 16 GiB, and rank_one needs less than train.
"""

import argparse
import json
import os

# libtpu reads these when it is loaded: no chip is asked for, none is waited for or locked.
os.environ["TPU_SKIP_MDS_QUERY"] = "1"
os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
os.environ["TPU_ACCELERATOR_TYPE"] = "v5litepod-4"
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"

from jax.experimental import topologies

from jax_tda.core import mesh as meshes
from jax_tda.encoding.abstract import encode_program
from jax_tda.models.decoder import DecoderConfig
from jax_tda.training.abstract import step_program
from jax_tda.training.optimizers import OptimizerConfig

SIZES = {
    "layers": 32, "width": 4096, "heads": 32, "kv_heads": 8, "mlp_width": 14336, "vocabulary_size": 32000,
}  # fmt: skip
MESH = {"data": 32, "model": 8, "examples_per_group": 4, "context": 2048, "projected_size": 64}


def lowered(name, options, mesh):
    """One program, lowered; `train` is a step of Adafactor."""
    shape = {size: getattr(options, size) for size in SIZES}
    types = {"dtype": "bfloat16", "parameter_dtype": "bfloat16", "remat": bool(options.remat), "tied": False}
    config = DecoderConfig(**shape, **types)
    batch = {"batch": options.examples_per_group * options.data, "context": options.context}
    if name == "train":
        program, arguments = step_program(config, OptimizerConfig("adafactor"), mesh, **batch)
    else:
        program, arguments = encode_program(
            config,
            mesh,
            projected_size=options.projected_size,
            reduction=name,
            examples_at_once=options.examples_at_once,
            **batch,
        )
    return program.lower(*arguments)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (SIZES | MESH).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--remat", type=int, default=1)
    parser.add_argument("--examples_at_once", type=int)
    parser.add_argument("--topology", default="v5e:16x16")
    parser.add_argument("--programs", nargs="+", default=["rank_one", "exact", "train"])
    options = parser.parse_args()
    devices = topologies.get_topology_desc(options.topology, "tpu").devices
    mesh = meshes.make_mesh(meshes.MeshConfig(options.data, options.model), devices=devices)
    found = {}
    for name in options.programs:
        memory = lowered(name, options, mesh).compile().memory_analysis()
        parts = {
            "arguments": memory.argument_size_in_bytes,
            "outputs": memory.output_size_in_bytes,
            "temporaries": memory.temp_size_in_bytes,
            "aliased": memory.alias_size_in_bytes,
        }
        found[name] = parts | {"total": sum(parts.values()) - 2 * parts["aliased"]}
    print(json.dumps(vars(options) | {"bytes_per_chip": found}))


if __name__ == "__main__":
    main()
