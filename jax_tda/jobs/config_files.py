"""Config files and command-line bindings to one setting per parameter: what is written later wins."""

from collections.abc import Sequence

from etils import epath

from jax_tda.core import files
from jax_tda.core.errors import InputError
from jax_tda.jobs.bindings import Binding, parse


def _include_refused(origin: str, filename: str) -> InputError:
    return InputError(
        f"{origin} may not include {filename}",
        got="an include in an included file or in a binding",
        expected="at most one include, written in the config file itself",
        remedy="copy the settings that are needed",
    )


def read_file(path: epath.Path, included: bool = False) -> list[Binding]:
    """The bindings of a config file; an included file lies relative to the one that includes it.

    Raises:
      InputError: when the file cannot be read, or says more than plain settings.
    """
    try:
        text = files.read(path).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The config file {path} cannot be read",
            got=error,
            expected="a gin file in UTF-8",
            remedy="check the path given to --gin_file or include; configs/road/ holds examples",
        ) from error

    def include(filename: str) -> list[Binding]:
        if included:
            raise _include_refused(str(path), filename)
        return read_file(path.parent / filename, included=True)

    return list(parse(text, str(path), include))


def read(paths: Sequence[str], bindings: Sequence[str]) -> list[Binding]:
    """Every setting once, in the order in which names were first written: later files win, bindings over all."""
    found = [binding for path in paths for binding in read_file(files.at(path))]

    for text in bindings:
        origin = f"--gin_bindings={text}"

        def include(filename: str, origin: str = origin) -> list[Binding]:
            raise _include_refused(origin, filename)

        found.extend(parse(text, origin, include))
    return list({(binding.name, binding.parameter): binding for binding in found}.values())
