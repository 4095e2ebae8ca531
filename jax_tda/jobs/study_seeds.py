"""The door's part for studies: the flag that runs one with several seeds."""

import dataclasses
from typing import Any

from absl import flags

from jax_tda.core.errors import InputError


def define_flag() -> None:
    """The flag that gives a study its seeds."""
    flags.DEFINE_integer("seeds", None, "Of a study: run it with the seeds 0 to N - 1.")


def asked(job: str, config: Any) -> Any:
    """The config, with the seeds that the flag asks for."""
    return config if flags.FLAGS.seeds is None else with_seeds(job, config, flags.FLAGS.seeds)


def with_seeds(job: str, config: Any, count: int) -> Any:
    """The config of a study with the seeds 0, …, count − 1 in place of its own.

    Raises:
      InputError: the job is no study, or there would be no seed.
    """
    remedy = f"leave --seeds out, or set `{job}.seed` if there is one" if count > 0 else "ask for one seed or more"
    if count < 1 or not any(field.name == "seeds" for field in dataclasses.fields(config)):
        raise InputError(
            f"--seeds is not possible for {job}",
            got=count,
            expected="at least 1, and a job that goes over several seeds (a study)",
            remedy=remedy,
        )
    return dataclasses.replace(config, seeds=tuple(range(count)))
