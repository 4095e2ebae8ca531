"""Laws of declared configs: every field of every config allows what it declares, and refuses all else alike."""

import dataclasses
import math
from typing import Annotated, Literal

import numpy as np
import pytest

from jax_tda.core import bounds, declared
from jax_tda.core.bounds import Bound, Expression, Items
from jax_tda.core.config import input_path
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.jobs.table import JOBS, PARTS, load

CONFIGS = {**JOBS, **PARTS}
FIELDS = [
    (name, field.name, annotation)
    for name, target in CONFIGS.items()
    for field, annotation in declared.annotations(load(target)).items()
]
# What a hand slips into a config: numbers without a value, far too large, negative, nothing at all, other types.
ODD = [
    math.nan, math.inf, -math.inf, 1e400, 10**18, -(10**18), 1e18, -1, 0, -1.5, True, "", (), None, "nonsense", "(",
    ("(",), (math.nan,), (10**18,), (-1,), (True,), b"bytes", {"a": 1}, object(), 10**400, "\0", ("",), [[]],
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
@declared.declared("cup")
class Cup:
    """A cup.

    Args:
      size: how much
        it holds.
      kind, other: what it is.
    """

    size: Annotated[int, Bound(1, 9, unit="litres", also=(-1,))] = 3
    kind: Literal["tea", "coffee"] = "tea"
    other: Annotated[tuple[float, ...], Items(0, 2, different=True, order="rising")] = ()
    rate: Annotated[float, Bound(above=0, below=1)] = 0.5
    pattern: Annotated[str, Expression()] = "a"
    shelf: Path = input_path()

    def __post_init__(self) -> None:
        declared.demand(self, self.size != 7, "size", "another number than 7")


def _sizes(value):
    """How large the numbers in a value are."""
    if isinstance(value, tuple | list):
        return [size for item in value for size in _sizes(item)]
    return [abs(value)] if isinstance(value, int | float) else []


@pytest.mark.parametrize(("config", "field", "annotation"), FIELDS, ids=[f"{c}.{f}" for c, f, _ in FIELDS])
def test_every_field_takes_an_odd_value_that_it_allows_or_refuses_it_in_four_parts_with_its_name(
    config, field, annotation
):
    """Law: over all fields of all configs. What is taken is finite, of the declared type, and no endless count."""
    made = load(CONFIGS[config])
    given = {f.name: None for f in dataclasses.fields(made) if f.default is f.default_factory is dataclasses.MISSING}
    assert not given, "every field has a default"
    refused = 0
    for value in ODD:
        try:
            kept = getattr(made(**{field: value}), field)
        except InputError as problem:
            refused += 1
            assert problem.what == f"{config}.{field} is not possible"
            assert all((problem.got, problem.expected, problem.remedy))
            continue
        assert all(math.isfinite(size) for size in _sizes(kept))
        bare, _ = bounds.rules(annotation)
        if bare is int and field != "seed":
            assert abs(kept) < 10**18
        if bare in (int, float, str, bool):
            assert type(kept) is bare
        hash(made(**{field: value}))
    assert refused >= 10


@pytest.mark.parametrize("name", CONFIGS)
def test_a_help_page_can_be_written_from_the_class_alone(name):
    """Law: every field that is no config has a meaning, a type in words, and a default that its own type allows."""
    config = load(CONFIGS[name])
    assert config.config_name == name
    for field, annotation in declared.annotations(config).items():
        if isinstance(bounds.rules(annotation)[0], type) and dataclasses.is_dataclass(annotation):
            continue
        (setting,) = [s for s in declared.described(config) if s.name == field.name]
        assert setting.meaning and setting.type, f"{name}.{field.name}"
        assert bounds.conform(setting.default, annotation) == setting.default


def test_a_config_is_described_as_its_class_says_it():
    """Law: type, default, unit and meaning, an entry over several fields and lines included."""
    size, kind, other, *_ = declared.described(Cup)
    assert size == (
        "size",
        "a whole number at least 1 and at most 9, or -1, in litres",
        3,
        "litres",
        "how much it holds.",
    )
    assert kind[1] == "'tea' or 'coffee'" and kind.meaning == other.meaning == "what it is."
    assert other.type == "a list, each item a finite number; no to 2 items, none twice, in rising order"


@pytest.mark.parametrize(
    ("field", "values"),
    {
        "size": [1, 9, -1, np.int64(3)],
        "kind": ["tea"],
        "other": [(), [1], (0.5, 2)],
        "rate": [0.5, np.float32(0.25)],
        "pattern": ["(a)"],
    }.items(),
)
def test_what_is_allowed_is_kept_as_the_declared_type(field, values):
    """Law: an integer stands for a float, a list for a tuple, NumPy's numbers for Python's."""
    for value in values:
        kept = getattr(Cup(**{field: value}), field)
        items = list(kept) if field == "other" else [kept]
        assert all(type(item) in ((float,) if field in ("other", "rate") else (int, str)) for item in items)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("size", 0, "at least 1 and at most 9"),
        ("size", 10, "at most 9"),
        ("size", True, "a whole number"),
        ("size", "3", "(str)"),
        ("size", 2.0, "a whole number"),
        ("size", 7, "another number than 7"),
        ("kind", "tee", "did you mean 'tea'?"),
        ("other", (2, 1), "rising"),
        ("other", (1, 1), "none twice"),
        ("other", (1, 2, 3), "2 items"),
        ("other", "ab", "a list"),
        ("rate", 0, "above 0"),
        ("rate", 1.0, "below 1"),
        ("rate", math.nan, "finite"),
        ("pattern", "(", "regular expression"),
        ("shelf", "a\0b", "a path"),
        ("shelf", 3, "a path"),
    ],
)
def test_what_is_not_allowed_is_refused_by_one_form_of_words(field, value, says):
    """Law: the setting, what was got, what is allowed, what to do."""
    with pytest.raises(
        InputError, match=rf"^cup\.{field} is not possible\n  got: .*\n  expected: .*\n  remedy: "
    ) as no:
        Cup(**{field: value})
    assert says in str(no.value)


def test_a_path_of_pathlib_is_a_path(tmp_path):
    """Law: Python's callers have such paths."""
    assert Cup(shelf=tmp_path).shelf == str(tmp_path)
