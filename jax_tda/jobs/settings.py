"""Bindings to a job's config: its own are applied, those of other known names are checked, unknown names refused."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from jax_tda.core import bounds
from jax_tda.core.config import check_complete
from jax_tda.core.declared import annotations
from jax_tda.core.errors import InputError
from jax_tda.core.nearest import unknown
from jax_tda.jobs.bindings import Binding
from jax_tda.jobs.checks import checked
from jax_tda.jobs.table import load


def _made(name: str, config: type, values: Mapping[str, dict[str, Any]], part_names: Mapping[str, str]) -> Any:
    given = dict(values.get(name, {}))
    for field, annotation in annotations(config).items():
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            part = part_names[f"{annotation.__module__}:{annotation.__qualname__}"]
            given[field.name] = _made(part, annotation, values, part_names)
        elif field.name not in given and field.default is field.default_factory is dataclasses.MISSING:
            raise InputError(
                f"`{name}.{field.name}` is not set",
                got="nothing",
                expected=bounds.describe(annotation),
                remedy=f"add `{name}.{field.name} = …` to the config",
            )
    return config(**given)


def build(
    job: str, bindings: Sequence[Binding], jobs: Mapping[str, str], parts: Mapping[str, str], complete: bool = False
) -> Any:
    """The job's config, with the parts it is made of.

    Raises:
      InputError: for a name that no job knows, an unknown parameter or an impossible value in any job's settings, or
        a value that this job needs and nobody gave; an input's path is needed where the config is to be `complete`.
    """
    known, values = {**jobs, **parts}, dict[str, dict[str, Any]]()
    for binding in bindings:
        if binding.name not in known:
            raise unknown(f"{binding.place}: no job is called `{binding.name}`", binding.name, known)
        values.setdefault(binding.name, {})[binding.parameter] = checked(binding, load(known[binding.name]))
    for name in set(values) & set(parts):
        # A part refuses an impossible value itself; better at the road's first job than at the one that needs it.
        load(parts[name])(**values[name])
    made = _made(job, load(jobs[job]), values, {target: name for name, target in known.items()})
    if complete:
        check_complete(job, made)
    return made
