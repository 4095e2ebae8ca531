"""Laws of reading traced programs: what arrives unchanged, what is needed, and a JAX whose programs are unknown."""

from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from jax_tda.core.errors import InputError
from jax_tda.encoding import traced, visibility


def scan_of(program):
    (equation,) = [e for e in program.jaxpr.eqns if e.primitive.name == "scan"]
    return equation


@pytest.mark.parametrize("constants", [0, 2])
@pytest.mark.parametrize("carried", [1, 2])
@pytest.mark.parametrize("scanned", [0, 1, 2])
@pytest.mark.parametrize("results", [0, 1])
def test_a_scan_is_divided_by_shapes_alone(constants, carried, scanned, results):
    """Law: constants, carried, scanned, also where the length equals every size."""
    size = 3
    fixed = [jnp.ones((size, size)) * n for n in range(constants)]

    def body(carry, rows):
        total = sum((f.sum() for f in fixed), jnp.zeros(())) + sum((r.sum() for r in rows), jnp.zeros(()))
        return tuple(c + total for c in carry), (total,) * results

    def run(fixed_, carry, rows):
        fixed[:] = fixed_
        return jax.lax.scan(body, carry, rows, length=size)

    carry = tuple(jnp.ones((size, size)) for _ in range(carried))
    rows = tuple(jnp.ones((size, size, size)) for _ in range(scanned))
    equation = scan_of(jax.make_jaxpr(run)(list(fixed), carry, rows))
    assert traced.divided(equation, traced.inner_programs(equation)[0]) == (constants, carried)


def test_what_a_loop_hands_on_is_needed():
    """Law: of a carried pair that is turned over at each step, one wanted result needs both inputs, and no third."""

    def run(a, b, c):
        (a, _, c), _ = jax.lax.scan(lambda s, _: ((s[1], s[0], s[2] + 1), None), (a, b, c), None, length=3)
        return a, c

    program = jax.make_jaxpr(run)(1.0, 2.0, 3.0).jaxpr
    assert traced.needed(program, [True, False]) == [True, True, False]
    assert traced.needed(program, [False, True]) == [False, False, True]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_stack_is_followed_to_the_axis_that_a_loop_takes(axis):
    """Law: transposed, scanned and handed to a call, an input is the same input without that axis."""
    found = []

    def visit(equation, given):
        if equation.primitive.name == "tan":
            found.append(given[0])
        return False

    def run(stack):
        rows = jnp.moveaxis(stack, axis, 0)
        return jax.lax.scan(lambda s, row: (s + jax.jit(jnp.tan)(row).sum(), None), 0.0, rows)[0]

    program = jax.make_jaxpr(run)(jnp.ones((3, 3, 3))).jaxpr
    traced.follow(program, [traced.Origin(0, (0, 1, 2))], visit)
    left = tuple(a for a in range(3) if a != axis)
    assert found == [traced.Origin(0, left, (axis,))]


def disguised(program, change):
    """A copy of a program, all the way down, whose equations a future JAX might write so."""

    def copy(value):
        if hasattr(value, "eqns") and hasattr(value, "invars"):
            equations = [change(one(e)) for e in value.eqns]
            return SimpleNamespace(eqns=equations, invars=value.invars, outvars=value.outvars)
        return copy(value.jaxpr) if hasattr(value, "jaxpr") else value

    def one(e):
        params = {name: copy(value) for name, value in e.params.items()}
        primitive = SimpleNamespace(name=e.primitive.name)
        return SimpleNamespace(
            primitive=primitive, params=params, invars=e.invars, outvars=e.outvars, effects=e.effects
        )

    return SimpleNamespace(jaxpr=copy(program))


def renamed(words, other):
    def change(e):
        e.primitive.name = other if e.primitive.name in words else e.primitive.name
        return e

    return change


def without_parameters(e):
    e.params = {}
    return e


def scans_in_another_order(e):
    if e.primitive.name == "scan":
        e.invars, e.params["jaxpr"].invars = e.invars[::-1], e.params["jaxpr"].invars[::-1]
    return e


def sums_by_another_name(e):
    if e.primitive.name == "reduce_sum":
        e.params = {"over": e.params["axes"]}
    return e


@pytest.mark.parametrize(
    "change",
    [
        without_parameters, scans_in_another_order, sums_by_another_name, renamed(("jit", "pjit"), "compiled"),
        renamed(("scan",), "loop"), renamed(("reduce_sum",), "total"),
    ],
)  # fmt: skip
def test_a_jax_of_tomorrow_is_refused_in_a_sentence(change, monkeypatch):
    """Law: programs of a form that is not known never end in a KeyError, nor in another plan: versions are named."""
    own, model = jax.make_jaxpr, nn.Dense(3)
    tokens = jax.ShapeDtypeStruct((1, 2), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), tokens)["params"]
    monkeypatch.setattr(jax, "make_jaxpr", lambda f: lambda *a: disguised(own(f)(*a), change))
    visibility.demand_understood.cache_clear()
    with pytest.raises(InputError, match="not understood") as caught:
        visibility.visible(model, params, tokens)
    assert jax.__version__ in caught.value.got and "0.7.2 to 0.12" in caught.value.expected
    monkeypatch.undo()
    visibility.visible(model, params, tokens)


def test_a_disguise_that_changes_nothing_is_understood(monkeypatch):
    """Law: the test above refuses what it changed, and not its own copy of a program."""
    own = jax.make_jaxpr
    monkeypatch.setattr(jax, "make_jaxpr", lambda f: lambda *a: disguised(own(f)(*a), lambda e: e))
    visibility.demand_understood.cache_clear()
    assert visibility.demand_understood() is None
