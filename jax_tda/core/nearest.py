"""The error for a name that is not among the known ones, with the nearest of them."""

import difflib
from collections.abc import Iterable

from jax_tda.core.errors import InputError


def unknown(what: str, got: str, known: Iterable[str]) -> InputError:
    """Says what is not known, what is, and which of it was probably meant."""
    known = sorted(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.5)
    remedy = f"did you mean `{near[0]}`?" if near else "take a name from the list, or delete the line"
    return InputError(what, got=got, expected="one of " + ", ".join(known), remedy=remedy)
