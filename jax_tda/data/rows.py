"""What a file of any layout gives: rows by number, each read only when it is asked for."""

from collections.abc import Callable, Mapping
from typing import Any

# A number, and what reads the row's fields, given how an error names it; it raises `records.Rejected`.
Reading = Callable[[str], Mapping[str, Any]]
Row = tuple[int, Reading]
# Whether a column is used.
Wanted = Callable[[str], bool]
