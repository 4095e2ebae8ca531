"""Work that one process of several does for all: the others wait, and get the same artifact or the same refusal."""

import functools
from collections.abc import Callable
from typing import TypeVar

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import processes

Config = TypeVar("Config")


def by_first(run: Callable[[Config, str], Reader]) -> Callable[[Config, str], Reader]:
    """Makes a job's `run`, which knows nothing of other processes, one that process 0 does while the others wait."""

    @functools.wraps(run)
    def whole(config: Config, output: str) -> Reader:
        made = list[Reader]()

        def work() -> tuple[str, str | None]:
            with processes.first_alone():
                made.append(run(config, output))
            return str(made[0].path), made[0].name

        if processes.count() == 1:
            return run(config, output)
        directory, name = processes.agree(work)
        return made[0] if made else open_artifact(directory, name=name)

    return whole
