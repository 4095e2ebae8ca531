"""Gin text to bindings `name.parameter = value`, each with its place, by gin's own parser."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any, NoReturn

from gin.config_parser import BindingStatement, BlockDeclaration, ConfigParser, IncludeStatement, ParserDelegate

from jax_tda.core.errors import InputError

_PLAIN = "lines `job.parameter = value` with a literal value; no scope, macro, reference or import; one include at most"
_REMEDY = "write the value itself, text in quotes, and every parameter once"


@dataclass(frozen=True)
class Binding:
    """One setting, and where it was written."""

    name: str
    parameter: str
    value: Any
    place: str


class _LiteralsOnly(ParserDelegate):
    def configurable_reference(self, name: str, evaluate: bool) -> NoReturn:
        raise SyntaxError(f"the reference @{name}")

    def macro(self, name: str) -> NoReturn:
        raise SyntaxError(f"the macro %{name}")


def parse(text: str, origin: str, include: Callable[[str], list[Binding]]) -> Iterator[Binding]:
    """Yields a gin text's bindings, those of an included file in its place; raises InputError for what is not plain."""
    place, written, includes = origin, set(), 0
    try:
        for statement in ConfigParser(text, _LiteralsOnly()):
            place = f"{origin}, line {statement.location.line_num}"
            if isinstance(statement, IncludeStatement) and not includes:
                includes += 1
                yield from include(statement.filename)
            elif isinstance(statement, BindingStatement) and statement.arg_name and not statement.scope:
                name, parameter = statement.selector, statement.arg_name
                if (name, parameter) in written:
                    raise SyntaxError(f"a second {name}.{parameter}")
                written.add((name, parameter))
                yield Binding(name, parameter, statement.value, place)
            elif not isinstance(statement, BlockDeclaration):
                raise SyntaxError(statement.location.line_content.strip())
    except InputError:
        raise
    except (SyntaxError, TokenError, ValueError) as error:
        got = str(error).splitlines()[0]
        after = f"{origin} cannot be read as a config" + (f" (read up to {place})" if place != origin else "")
        raise InputError(after, got=got, expected=_PLAIN, remedy=_REMEDY) from error
