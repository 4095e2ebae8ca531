"""How much of a run its page shows."""

import dataclasses
from typing import Annotated

from jax_tda.core.bounds import Bound, Items
from jax_tda.core.declared import declared
from jax_tda.core.quantities import Name


@dataclasses.dataclass(frozen=True)
@declared("page")
class PageConfig:
    """What stands on the page; whatever is cut is said there.

    Args:
      title: its first line.
      shown_queries: the most queries.
      shown_proponents: the most proponents of each query and method.
      shown_opponents: the most opponents.
      shown_characters: of each passage, at most.
      columns: the methods that stand side by side when the page opens; none for the one that others are compared
        with and those others.
      one_file_below: a page whose data are smaller than this is a single file that can be sent by mail; a larger one
        has its data in a folder beside it, of which only what is looked at is loaded.
    """

    title: str = "Which training passages made the model know it?"
    shown_queries: Annotated[int, Bound(0, 10**6, unit="queries")] = 5000
    shown_proponents: Annotated[int, Bound(0, 10**5, unit="passages")] = 10
    shown_opponents: Annotated[int, Bound(0, 10**5, unit="passages")] = 5
    shown_characters: Annotated[int, Bound(0, 10**7, unit="characters")] = 1500
    columns: Annotated[tuple[Name, ...], Items(0, 64, different=True)] = ()
    one_file_below: Annotated[float, Bound(0, 100, unit="MB")] = 4.0
