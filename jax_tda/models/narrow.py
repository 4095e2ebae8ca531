"""Second moments kept in types that cannot hold a slow mean."""

import warnings
from collections.abc import Iterable


def named(types: Iterable[str]) -> str:
    """Says in which narrow types moments were kept, for the manifest, and warns of them; empty where there are none.

    A mean ν ← ν + (1 − b2)(g² − ν) stops where its step is lost in rounding: with b2 = 0.999 in bfloat16
    at half of g². Such moments are then too small by an amount that differs from number to number.

    Args:
      types: the names of the narrow types, of less than four bytes.
    """
    found = " and ".join(sorted(set(types)))
    if not found:
        return ""
    warnings.warn(
        f"the second moments were kept in {found}, where a slow mean stops when its step is lost in rounding: "
        "with b2 = 0.999 in bfloat16 at half of g²",
        stacklevel=2,
    )
    return f", kept in {found}"
