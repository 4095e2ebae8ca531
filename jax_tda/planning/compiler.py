"""The TPU compiler without a TPU: the devices of a topology, and what a program compiled for them needs of each."""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.experimental import topologies

from jax_tda.core.errors import InputError
from jax_tda.planning.chips import Topology

# libtpu reads these when it is loaded: no chip is asked for, none is waited for or locked.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
# Where `make venv` puts libtpu: JAX looks for TPUs, for long, in every program that could import it.
_BESIDE = Path(sys.prefix) / "tpu_compiler" / "libtpu" / "libtpu.so"
_ABSENT = "TPU support not installed"
_TOO_LARGE = "RESOURCE_EXHAUSTED"


def without_a_chip() -> None:
    """Lets JAX compute on the CPU and libtpu compile alone; to be called before JAX has looked for its devices."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if _BESIDE.exists():
        os.environ.setdefault("TPU_LIBRARY_PATH", str(_BESIDE))
    if not jax.config.values["jax_platforms"]:
        jax.config.update("jax_platforms", "cpu")


def devices(topology: Topology) -> list[Any]:
    """The devices of a slice that need not be there; v4 shows the two cores of a chip as two devices.

    Raises:
      InputError: libtpu is not installed, or knows no such topology.
    """
    try:
        found = topologies.get_topology_desc(platform="tpu", topology_name=topology.name).devices
    except RuntimeError as problem:
        if _ABSENT in str(problem):
            raise InputError(
                "the TPU compiler is not installed",
                got="no libtpu",
                expected="libtpu, which compiles for TPUs on any x86 Linux machine",
                remedy="make venv, or pip install 'jax_tda[tpu_compile]'; plan.programs = () asks for no compiler",
            ) from problem
        raise InputError(
            "libtpu knows no such topology",
            got=f"{topology.name}: {str(problem).splitlines()[0]}",
            expected="sides that hosts of this chip can be put together to",
            remedy="set plan.topologies",
        ) from problem
    return list(found)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of one device, by the compiler's word.

    Args:
      arguments: what the program is given.
      outputs: what it returns.
      temporaries: what it needs in between.
      aliased: outputs that lie where arguments lay.
      code: the program itself.
      refused: why the compiler refused; empty when it did not.
    """

    arguments: int = 0
    outputs: int = 0
    temporaries: int = 0
    aliased: int = 0
    code: int = 0
    refused: str = ""

    @property
    def total(self) -> int:
        """arguments + outputs + temporaries − aliased."""
        return self.arguments + self.outputs + self.temporaries - self.aliased


def compiled(lower: Callable[[], jax.stages.Lowered]) -> Memory:
    """What the compiler says about a program; one that does not fit the device's memory is refused by it."""
    try:
        found: Any = lower().compile().memory_analysis()
    except jax.errors.JaxRuntimeError as problem:
        text = str(problem)
        if _TOO_LARGE not in text:
            raise
        return Memory(refused=next((line for line in text.splitlines() if "hbm" in line.lower()), text.splitlines()[0]))
    return Memory(
        found.argument_size_in_bytes,
        found.output_size_in_bytes,
        found.temp_size_in_bytes,
        found.alias_size_in_bytes,
        found.generated_code_size_in_bytes,
    )
