"""Laws of configs: what counts as a setting."""

import dataclasses

from jax_tda.core.config import input_path, machine, settings


@dataclasses.dataclass(frozen=True)
class Inner:
    """A config inside a config."""

    model: str = input_path()
    rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Outer:
    """Every kind of field that configs have."""

    corpus: str = input_path()
    queries: str = input_path("queries.jsonl")
    size: int = 3
    names: tuple[str, ...] = ("a",)
    inner: Inner = dataclasses.field(default_factory=Inner)
    devices: int = machine(1)


def test_settings_are_all_fields_but_the_paths_of_inputs():
    """Law: inside a config that stands in another too; every other field is there, whatever its value."""
    assert settings(Outer()) == {"size": 3, "names": ("a",), "inner": {"rate": 0.1}}
    assert settings(Outer(size=0, names=(), inner=Inner(rate=0.0))) == {"size": 0, "names": (), "inner": {"rate": 0.0}}


def test_moving_an_input_changes_no_setting_and_changing_an_option_does():
    """Law: paths say nothing of the result, nor does the machine."""
    moved = Outer(corpus="elsewhere", queries="", inner=Inner(model="there"), devices=8)
    assert settings(moved) == settings(Outer())
    for changed in (Outer(size=4), Outer(names=("b",)), Outer(inner=Inner(rate=0.2))):
        assert settings(changed) != settings(Outer())


def test_an_input_path_has_a_default_like_any_other_field():
    """Law: a config can be made without its inputs, and takes those it is given."""
    assert (Outer().corpus, Outer().queries, Outer(corpus="x").corpus) == ("", "queries.jsonl", "x")
