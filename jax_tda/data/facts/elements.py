"""What the package mendeleev says of the chemical elements, read from its SQLite file."""

import contextlib
import sqlite3

from jax_tda.data.facts import package_data
from jax_tda.data.facts.subject import Subject

_QUERY = """
    SELECT elements.symbol, elements.name, elements.atomic_number, series.name, elements.period
    FROM elements JOIN series ON elements.series_id = series.id ORDER BY elements.atomic_number
"""


def read() -> list[Subject]:
    """The elements by their symbols, in the order of their atomic numbers."""
    path = package_data.directory("mendeleev", "mendeleev") / "elements.db"
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        rows = database.execute(_QUERY).fetchall()
    return [
        # English writes the names of elements and families small.
        Subject(
            symbol,
            name.lower(),
            {"symbol": symbol, "atomic_number": str(number), "family": family.lower(), "period": str(period)},
        )
        for symbol, name, number, family, period in rows
    ]
