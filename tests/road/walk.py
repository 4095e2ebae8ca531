"""The jobs of a road in this process: the launch script's own commands, read as the door reads them."""

import shlex
from collections.abc import Iterator

from jax_tda.jobs import config_files, settings, table


def jobs(printed: str) -> Iterator[tuple[str, object, str]]:
    """(verb, config, output) of each command that `--print` shows, read only when its turn comes."""
    for line in printed.splitlines():
        words = shlex.split(line)
        verb = words[2].removeprefix("jax_tda.jobs.")

        def flags(name: str, words: list[str] = words) -> list[str]:
            return [word.removeprefix(f"--{name}=") for word in words if word.startswith(f"--{name}=")]

        bindings = config_files.read(flags("gin_file"), flags("gin_bindings"))
        yield verb, settings.build(verb, bindings, table.JOBS, table.PARTS), flags("output_dir")[0]


def run(verb: str, config: object, output: str) -> object:
    """One job."""
    return table.work_of(verb).run(config, output)
