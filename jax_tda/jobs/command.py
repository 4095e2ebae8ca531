"""`jax-tda VERB …`: from what was typed to the job, the pipeline or the help that it names."""

import os
import sys
from collections.abc import Sequence

from jax_tda.core import stopping
from jax_tda.core.errors import InputError
from jax_tda.core.nearest import unknown
from jax_tda.jobs import table

# Verbs that are no job: each is a pipeline of jobs, or copies files.
PIPELINES = {
    "demo": "Makes a corpus of true facts and goes the whole way over it, to a judged ranking and a page.",
    "trackstar": "Goes the whole way over your own text: from passages and queries to a judged ranking and a page.",
    "templates": "Copies the example configs and the launchers into a folder, to be changed.",
}
_HELP = ("-h", "--help")


def main(given: Sequence[str] = ()) -> None:
    """Does what the command line asks for, and ends with its exit code.

    Args:
      given: words that stand before those of the command line.
    """
    stopping.listen()
    words = [*given, *sys.argv[1:]]
    if not words or (words[0] in (*_HELP, "help") and len(words) == 1):
        from jax_tda.jobs import help_pages

        _show(help_pages.overview())
        sys.exit(0 if words else 2)
    if words[0] == "help":
        words = [*words[1:], "--help"]
    try:
        verb, rest = named(words)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if set(rest) & set(_HELP):
        from jax_tda.jobs import help_pages

        _show(help_pages.page(verb))
        return
    sys.argv = [f"jax-tda {verb}", *rest]
    if verb in PIPELINES:
        from jax_tda.jobs import pipelines

        sys.exit(pipelines.main(verb, rest))
    from jax_tda.jobs import door

    work = table.work_of(verb)
    door.run(verb, work.run, work.plan)


def _show(text: str) -> None:
    """Prints what may be longer than its reader cares for: `jax-tda encode --help | head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python writes what is left once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def named(words: Sequence[str]) -> tuple[str, list[str]]:
    """The verb that the first words name, and the words after it; `study density` is `study_density`.

    Raises:
      InputError: there is no such verb.
    """
    typed, rest = words[0], list(words[1:])
    if typed == "study" and rest and not rest[0].startswith("-"):
        typed = f"study_{rest.pop(0)}"
    verb = typed.replace("-", "_")
    verb = table.ALIASES.get(verb, verb)
    if verb in table.TABLE or verb in PIPELINES:
        return verb, rest
    raise unknown(f"`jax-tda {typed}` does not exist", verb, [*table.TABLE, *table.ALIASES, *PIPELINES])
