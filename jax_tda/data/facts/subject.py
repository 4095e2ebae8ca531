"""A subject of facts: its name and, for each relation, its object."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Subject:
    """A country or an element.

    Attributes:
      key: short code, unique among its kind.
      name: as sentences say it.
      objects: relation to object; "" where the data have none or no clear one.
    """

    key: str
    name: str
    objects: Mapping[str, str]
