"""The verbs that are pipelines: a command line to one frozen config, its steps, and what shall be done with them."""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jax_tda.core import files
from jax_tda.core.declared import described
from jax_tda.core.errors import InputError
from jax_tda.core.nearest import unknown
from jax_tda.jobs import command, isolated, templates
from jax_tda.pipeline import shipped, trackstar
from jax_tda.pipeline.step import Step, chosen
from jax_tda.pipeline.trackstar import TrackstarConfig

DEMO_CONFIG = "configs/road/demo.gin"
_SEVERAL = ("config", "gin_bindings")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong after the usage, on stderr, with the nearest option that exists; code 2."""

    def error(self, message: str) -> NoReturn:
        known = [option for action in self._actions for option in action.option_strings]
        for word in message.removeprefix("unrecognized arguments: ").split():
            if word.startswith("-") and message.startswith("unrecognized"):
                message = str(unknown(f"unknown option {word.partition('=')[0]}", word.partition("=")[0], known))
                break
        super().error(message)


def parser(verb: str) -> argparse.ArgumentParser:
    """What may be typed after the verb."""
    made = _Parser(f"jax-tda {verb}", description=command.PIPELINES[verb], allow_abbrev=False)
    meanings = {setting.name: setting.meaning.replace("%", "%%") for setting in described(TrackstarConfig)}
    if verb == "trackstar":
        for name, place in (("corpus", "CORPUS"), ("queries", "QUERIES"), ("output", "OUT")):
            made.add_argument(name, metavar=place, help=meanings.pop(name))
    else:
        given = made.add_argument("--output_dir", dest="output", default="out/demo", help=meanings.pop("output"))
        given.help = f"{given.help} (out/demo)"
        for name in ("corpus", "queries", "checkpoint", "continue_from"):
            made.set_defaults(**{name: ""})
            meanings.pop(name)
    for name, meaning in meanings.items():
        if name in _SEVERAL:
            made.add_argument(f"--{name}", action="append", default=[], help=f"{meaning} May be repeated.")
        else:
            made.add_argument(f"--{name}", default=None if name == "seed" else "", help=meaning)
    way = made.add_argument_group("how it is done; no result depends on it")
    way.add_argument("--print", action="store_true", help="show each step as a command of its own; do nothing")
    way.add_argument("--dry_run", action="store_true", help="check every setting and say what each step would do")
    way.add_argument("--from", dest="first", default="", metavar="STEP", help="begin with this step")
    way.add_argument("--only", default="", metavar="STEP", help="do this step alone")
    way.add_argument("--isolated", action="store_true", help="a process of its own for every step")
    way.add_argument("--processes", default="1", metavar="N", help="divide every step among N processes")
    way.add_argument("--multiprocess", action="store_true", help="this command runs in every process of a cluster")
    return made


def steps(verb: str, config: TrackstarConfig) -> list[Step]:
    """The steps of a pipeline."""
    if verb == "trackstar":
        return trackstar.steps(config)
    text = f"{config.output}/text"
    facts = Step("text", "prepare_facts", text, writes=f"{text}/manifest.json")
    written = dataclasses.replace(config, corpus=f"{text}/corpus.jsonl", queries=f"{text}/queries.jsonl")
    return [facts, *trackstar.steps(written)]


def main(verb: str, words: Sequence[str]) -> int:
    """Does what the words say, and returns the exit code."""
    if verb == "templates":
        return templates.main(words)
    read = parser(verb)
    given = read.parse_intermixed_args(list(words))
    try:
        config = _config(read, given)
        return _done(chosen(steps(verb, config), given.first, given.only), config, given)
    except InputError as error:
        print(error, file=sys.stderr)
        return 2


def _config(read: argparse.ArgumentParser, given: argparse.Namespace) -> TrackstarConfig:
    if given.seed is not None and not given.seed.isdecimal():
        read.error(f"--seed needs a whole number, not {given.seed}")
    if not given.processes.isdecimal() or given.processes.startswith("0"):
        read.error(f"--processes needs a number of at least 1, not {given.processes}")
    if given.processes != "1" and given.multiprocess:
        read.error("--processes is for one machine, --multiprocess for a cluster")
    if given.checkpoint and given.continue_from:
        read.error("--checkpoint trains nothing, --continue_from does: give one of them")
    values: dict[str, Any] = {field.name: getattr(given, field.name) for field in dataclasses.fields(TrackstarConfig)}
    values["seed"] = None if given.seed is None else int(given.seed)
    values["config"] = given.config or [str(shipped.place(DEMO_CONFIG))]
    return TrackstarConfig(**values)


def _done(left: list[Step], config: TrackstarConfig, given: argparse.Namespace) -> int:
    commands = [_command(step, config, given) for step in left]
    if given.print:
        print("\n".join(shlex.join(words) for words in commands))
        return 0
    if given.isolated or given.multiprocess or given.processes != "1":
        if given.dry_run:
            commands = [[*words, "--dry_run"] for words in commands]
        code = isolated.run(list(zip(left, commands, strict=True)))
    else:
        from jax_tda.jobs import in_process

        code = in_process.run(left, _flags(config), given.dry_run)
    if code == 0 and not given.dry_run and left[-1].job == "show":
        print(f"\nThe page: {files.at(left[-1].output) / 'index.html'}", flush=True)
    return code


def _flags(config: TrackstarConfig) -> tuple[list[str], list[str]]:
    return list(config.config), list(config.gin_bindings)


def _command(step: Step, config: TrackstarConfig, given: argparse.Namespace) -> list[str]:
    """The step as it can be typed."""
    paths, bindings = _flags(config)
    words = [sys.executable, "-m", f"jax_tda.jobs.{step.job}"]
    words += [f"--gin_file={path}" for path in paths] + [f"--output_dir={step.output}"]
    words += [f"--gin_bindings={line}" for line in (*bindings, *step.bindings())]
    if given.processes != "1":
        launcher = [sys.executable, "-m", "jax_tda.pipeline.local_processes", "--processes", given.processes, "--"]
        words = launcher + words
    return words + ["--multiprocess"] * given.multiprocess
