"""A step of a pipeline: one job, what it reads, what it is told, and the one artifact that it writes."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.core.nearest import unknown


@dataclasses.dataclass(frozen=True)
class Step:
    """One job on the way.

    Args:
      name: what `--from` and `--only` call it; no two steps of a pipeline have one name.
      job: which job of `jax_tda.jobs.table`.
      output: the directory that it is given.
      inputs: paths by `job.parameter`.
      settings: values by `job.parameter`, which go before those of a config file.
      writes: the manifest of what it makes, which exists once it is finished; empty where nothing is made.
    """

    name: str
    job: str
    output: str
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    writes: str = ""

    def bindings(self) -> list[str]:
        """What the step is told, as lines of a config; whatever a path holds, it stays one value."""
        return [f"{name}={value!r}" for name, value in {**self.inputs, **self.settings}.items()]


def missing(step: Step, made: Iterable[Step]) -> list[Step]:
    """Those of `made` whose artifact this step reads, and which are not finished."""
    read = {path.rstrip("/") for path in step.inputs.values()}
    before = [one for one in made if one.writes and one.writes.rpartition("/")[0] in read]
    return [one for one in before if not files.exists(files.at(one.writes))]


def chosen(steps: Sequence[Step], first: str = "", only: str = "") -> list[Step]:
    """The steps from the one called `first` on, or the one called `only`.

    Raises:
      InputError: no step has that name, or it reads what an earlier step has not made yet.
    """
    names = [step.name for step in steps]
    for name in filter(None, (first, only)):
        if name not in names:
            raise unknown(f"no step is called {name}", name, names)
    left = [step for step in steps if step.name == only] if only else list(steps)[names.index(first) if first else 0 :]
    before = steps[: names.index(left[0].name)]
    for step in left:
        if absent := missing(step, before):
            raise InputError(
                f"the step {step.name} cannot be done yet",
                got=f"no {absent[0].writes}",
                expected="what the steps before it make",
                remedy=f"begin with --from {absent[0].name}",
            )
    return left
