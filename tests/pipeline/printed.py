"""What `jax-tda trackstar … --print` shows, in this process."""

import contextlib
import io
import shlex

from jax_tda.jobs import config_files, pipelines


def commands(*arguments: str) -> list[list[str]]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert pipelines.main("trackstar", [*arguments, "--print"]) == 0
    return [shlex.split(line) for line in said.getvalue().splitlines()]


def verbs(jobs: list[list[str]]) -> list[str]:
    return [job[2].removeprefix("jax_tda.jobs.") for job in jobs]


def values(job: list[str]) -> dict[str, object]:
    bindings = [word.removeprefix("--gin_bindings=") for word in job if word.startswith("--gin_bindings=")]
    return {f"{binding.name}.{binding.parameter}": binding.value for binding in config_files.read([], bindings)}
