"""Two jobs and a part, as the door's table would list them, small enough to see what every binding must become."""

import errno
import sys
from dataclasses import dataclass, field
from typing import Literal

from jax_tda.core.config import input_path
from jax_tda.jobs import door


@dataclass(frozen=True)
class ShapeConfig:
    width: int = 4
    tied: bool = True


@dataclass(frozen=True)
class WalkConfig:
    path: str = input_path()
    steps: int = 10
    rate: float = 0.5
    fast: bool = False
    names: tuple[str, ...] = ()
    limit: int | None = None
    kind: Literal["left", "right"] = "left"
    shape: ShapeConfig = field(default_factory=ShapeConfig)


@dataclass(frozen=True)
class RestConfig:
    hours: int
    seeds: tuple[int, ...] = (0,)


JOBS = {"walk": "tests.jobs.fake_jobs:WalkConfig", "rest": "tests.jobs.fake_jobs:RestConfig"}
PARTS = {"shape": "tests.jobs.fake_jobs:ShapeConfig"}


def walk(config: WalkConfig, output_dir: str) -> None:
    if config.path == "full":
        raise OSError(errno.ENOSPC, "No space left on device")
    if config.path == "broken":
        raise RuntimeError("a fault of our own")
    print(f"walked {config.steps} to {output_dir}")


def plan(config: WalkConfig, output_dir: str) -> str:
    return f"would walk {config.steps} to {output_dir}"


if __name__ == "__main__":
    assert "jax" not in sys.modules
    door.run("walk", walk, plan, JOBS, PARTS)
