"""What a TPU chip is said to do: memory, peak rate, how many stand in a host. Source: Google's page on each kind."""

import dataclasses
from collections.abc import Mapping

from jax_tda.core.errors import InputError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip.

    Args:
      memory: bytes of HBM.
      peak: FLOP/s in bfloat16.
      host: how the chips of one host lie, as pods are made of them.
    """

    memory: int
    peak: float
    host: str


CHIPS: Mapping[str, Chip] = {
    "v4": Chip(32 * GIB, 275e12, "2x2x1"),
    "v5e": Chip(16 * GIB, 197e12, "2x2"),
    "v5p": Chip(95 * GIB, 459e12, "2x2x1"),
    "v6e": Chip(32 * GIB, 918e12, "2x2"),
}
# A product of float32 numbers at full precision is six of bfloat16 parts.
FULL_PRECISION_PASSES = 6


@dataclasses.dataclass(frozen=True)
class Topology:
    """A slice: how many chips of which kind.

    Args:
      name: as libtpu knows it, `v5e:16x16`.
      chip: the kind.
      chips: how many.
    """

    name: str
    chip: Chip
    chips: int

    @property
    def hosts(self) -> int:
        """Machines that the chips stand in."""
        return -(-self.chips // self.host.chips)

    @property
    def host(self) -> "Topology":
        """One of these machines as a slice of its own."""
        return topology(f"{self.name.partition(':')[0]}:{self.chip.host}")


def topology(name: str) -> Topology:
    """The slice of a name.

    Raises:
      InputError: no chip is known by that name, or its sides cannot be read.
    """
    kind, _, sides = name.partition(":")
    parts = sides.split("x")
    if kind not in CHIPS or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InputError(
            "there is no such TPU topology",
            got=name,
            expected=f"a chip ({', '.join(CHIPS)}), a colon and its sides, as v5e:16x16 or v4:4x4x4",
            remedy="set plan.topologies",
        )
    count = 1
    for part in parts:
        count *= int(part)
    return Topology(name, CHIPS[kind], count)
