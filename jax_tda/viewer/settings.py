"""How much of a run its page shows."""

import dataclasses

from jax_tda.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class PageConfig:
    """What stands on the page; whatever is cut is said there.

    `columns` are the methods side by side when the page opens, `facet` the query field one can filter by.
    """

    title: str = "Which training passages made the model know it?"
    shown_queries: int = 5000
    shown_proponents: int = 10
    shown_opponents: int = 5
    shown_characters: int = 1500
    facet: str = "relation"
    columns: tuple[str, ...] = ("trackstar", "grad_cosine", "bm25", "gold")

    def __post_init__(self) -> None:
        for name in ("shown_queries", "shown_proponents", "shown_opponents", "shown_characters"):
            if getattr(self, name) < 0:
                raise InputError(
                    f"The page cannot show a negative number of things: {name}.",
                    got=getattr(self, name),
                    expected="0 or more",
                    remedy=f"Set PageConfig.{name} to 0 or more.",
                )
