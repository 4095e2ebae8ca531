"""templates: the example configs and the launchers, copied to where they can be changed."""

import argparse
import pathlib
import shutil
import sys
from collections.abc import Sequence

from jax_tda.jobs import command
from jax_tda.pipeline import shipped


def parser() -> argparse.ArgumentParser:
    """What may be typed after the verb."""
    made = argparse.ArgumentParser("jax-tda templates", description=command.PIPELINES["templates"], allow_abbrev=False)
    made.add_argument("--output_dir", default=".", help="the folder that they are copied into (.)")
    return made


def main(words: Sequence[str]) -> int:
    """Copies what is not there yet, and says where it lies; returns the exit code."""
    output = pathlib.Path(parser().parse_args(list(words)).output_dir)
    for folder in shipped.FOLDERS:
        target = output / folder
        if target.exists():
            print(f"{target} is there already and stays as it is", file=sys.stderr)
            return 2
        shutil.copytree(shipped.place(folder), target, ignore=shutil.ignore_patterns("__pycache__"))
        print(target)
    return 0
