"""The help of every verb: read from a file that is made from the configs, so that asking for help imports no JAX.

python -m jax_tda.jobs.help_pages writes that file anew; a test says when that is due.
"""

import dataclasses
import importlib.resources
import inspect
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

from jax_tda.jobs import command, table

FILE = "help_pages.txt"
_HEAD = "=== "
_USAGE = """\
jax-tda {verb} [--gin_file=FILE]… [--gin_bindings="{verb}.SETTING = VALUE"]… --output_dir=DIR [--dry_run]

{sentence}
"""


def overview() -> str:
    """Every verb with its sentence."""
    rows = {**command.PIPELINES, **{name: job.sentence for name, job in table.TABLE.items()}}
    wide = max(map(len, rows))
    lines = [f"  {name:{wide}}  {sentence}" for name, sentence in rows.items()]
    return "\n".join(["jax-tda VERB …   (jax-tda VERB --help says what it takes)", "", *lines])


def page(verb: str) -> str:
    """What a verb does, reads, writes, and every setting that it knows."""
    if verb in command.PIPELINES:
        from jax_tda.jobs import pipelines, templates

        made = templates.parser() if verb == "templates" else pipelines.parser(verb)
        return made.format_help().rstrip()
    sections = _sections()
    own = sections[verb]
    parts = [name for name in _named(own) if name in table.PARTS]
    usage = _USAGE.format(verb=verb, sentence=table.TABLE[verb].sentence)
    return "\n".join([usage, own, *(sections[name] for name in parts)]).rstrip()


def _named(section: str) -> list[str]:
    """The parts that the last line of a section names."""
    last = section.rstrip().splitlines()[-1]
    return last.removeprefix("Settings of other names: ").split(", ") if last.startswith("Settings of other") else []


def _sections() -> dict[str, str]:
    text = importlib.resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    found = [part.partition("\n") for part in text.split(f"\n{_HEAD}")[1:]]
    return {name: section for name, _, section in found}


def written() -> str:
    """The file as the configs are now; imports all of them."""
    made = ["Made by `python -m jax_tda.jobs.help_pages` from the configs; not to be edited."]
    for name, target in {**table.JOBS, **table.PARTS}.items():
        made.append(f"{_HEAD}{name}\n" + "\n".join(_section(name, table.load(target))))
    return "\n".join(made) + "\n"


def _section(name: str, config: type) -> Iterator[str]:
    from jax_tda.core import declared

    known = declared.described(config)
    inputs = _inputs(config)
    if name in table.TABLE:
        doc = inspect.getdoc(table.work_of(name).run) or ""
        yield from _wrapped("Output: " + " ".join(doc.partition("\n\n")[0].removeprefix("Writes ").split()), "")
    for heading, chosen in (
        ("Inputs", [setting for setting in known if setting.name in inputs]),
        ("Settings", [setting for setting in known if setting.name not in inputs]),
    ):
        if chosen:
            yield f"{heading} of {name}:"
        for setting in chosen:
            yield from _setting(setting, inputs)
    others = list(dict.fromkeys(_parts(config)))
    if others:
        yield "Settings of other names: " + ", ".join(others)


def _setting(setting: Any, inputs: dict[str, bool]) -> Iterator[str]:
    if setting.name in inputs:
        yield f"  {setting.name}{' (needed)' if inputs[setting.name] else ''}"
        yield from _wrapped(f"a path: {setting.meaning}")
        return
    given = "" if setting.default is dataclasses.MISSING else f" = {setting.default!r}"
    yield f"  {setting.name}{given}"
    yield from _wrapped(f"{setting.meaning} ({setting.type})" if setting.meaning else setting.type)


def _inputs(config: type) -> dict[str, bool]:
    """Which fields are paths that the job reads, and whether it cannot do without."""
    from jax_tda.core.config import is_input, is_required

    return {field.name: is_required(field) for field in dataclasses.fields(config) if is_input(field)}


def _parts(config: type) -> Iterator[str]:
    """The names of the configs inside a config, and of those inside them."""
    from jax_tda.core import declared

    for annotation in declared.annotations(config).values():
        if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
            yield annotation.config_name  # type: ignore[attr-defined]
            yield from _parts(annotation)


def _wrapped(text: str, indent: str = "      ") -> list[str]:
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


if __name__ == "__main__":
    pathlib.Path(__file__).with_name(FILE).write_text(written(), encoding="utf-8")
