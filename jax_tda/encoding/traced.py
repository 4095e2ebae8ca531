"""What a traced program does with its inputs: where they arrive unchanged, and which of them its outputs need.

Only the parts of a program that JAX documents are read: equations, operands, results, shapes and names. How a loop
divides its operands follows from their shapes: what is scanned has one axis more outside than inside.
"""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

# Equations that hand their operands to one inner program, one by one and unchanged. A rule for derivatives of the
# model's own (custom_vjp) is not among them: it may do anything to the gradient of what it is handed.
CALLS = ("jit", "pjit", "checkpoint", "remat2", "remat", "closed_call", "core_call")


class NotUnderstoodError(Exception):
    """A program has a form that no JAX known here gives it."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """The input that a value is, unchanged but for the order of its axes and those that loops took off.

    Args:
      place: which input.
      axes: the input's axes that are left, in the value's order.
      taken: the input's axes that loops run over, the outermost first.
    """

    place: int
    axes: tuple[int, ...]
    taken: tuple[int, ...] = ()

    def turned(self, order: Iterable[int]) -> "Origin":
        """After a transposition."""
        return dataclasses.replace(self, axes=tuple(self.axes[axis] for axis in order))

    def stepped(self, axis: int = 0) -> "Origin":
        """Inside a loop over an axis of it."""
        left = self.axes[:axis] + self.axes[axis + 1 :]
        return dataclasses.replace(self, axes=left, taken=(*self.taken, self.axes[axis]))


# Is called for every equation with the origins of its operands; says whether the equation is done with.
Visit = Callable[[Any, list[Origin | None]], bool]


def follow(program: Any, origins: list[Origin | None], visit: Visit) -> None:
    """Follows inputs through calls, loops and transpositions, and shows every equation what it is handed.

    Raises:
      NotUnderstoodError: a loop's operands are divided in a way that is not known.
    """
    known = dict(zip(map(id, program.invars), origins, strict=True))
    for equation in program.eqns:
        given = [known.get(id(operand)) for operand in equation.invars]
        if visit(equation, given):
            continue
        kind = equation.primitive.name
        if kind == "transpose" and given[0] is not None and "permutation" in equation.params:
            known[id(equation.outvars[0])] = given[0].turned(equation.params["permutation"])
        for inner in inner_programs(equation):
            handed: list[Origin | None] = [None] * len(inner.invars)
            if kind == "scan":
                constants, carried = divided(equation, inner)
                handed[:constants] = given[:constants]
                handed[constants + carried :] = [one and one.stepped() for one in given[constants + carried :]]
            elif kind in CALLS and len(inner.invars) == len(given):
                handed = given
            follow(inner, handed, visit)


def needed(program: Any, wanted: list[bool]) -> list[bool]:
    """Which inputs the wanted outputs are computed from; where an equation is not looked into, all of its operands."""
    live = {id(output) for output, flag in zip(program.outvars, wanted, strict=True) if flag}
    for equation in reversed(program.eqns):
        outputs = [id(output) in live for output in equation.outvars]
        if any(outputs) or equation.effects:
            flags = _operands(equation, outputs)
            live |= {id(operand) for operand, flag in zip(equation.invars, flags, strict=True) if flag}
    return [id(variable) in live for variable in program.invars]


def _operands(equation: Any, outputs: list[bool]) -> list[bool]:
    inner, kind = inner_programs(equation), equation.primitive.name
    everything = [True] * len(equation.invars)
    if equation.effects or len(inner) != 1 or len(inner[0].invars) != len(everything):
        return everything
    if kind in CALLS:
        return needed(inner[0], outputs)
    if kind != "scan":
        return everything
    constants, carried = divided(equation, inner[0])
    while True:
        # What one step hands to the next is wanted there, too.
        flags = needed(inner[0], outputs)
        handed_on = flags[constants : constants + carried]
        grown = [a or b for a, b in zip(outputs[:carried], handed_on, strict=True)] + outputs[carried:]
        if grown == outputs:
            return flags
        outputs = grown


def arriving(mark: Any, given: list[Origin | None]) -> list[Origin | None]:
    """What a mark's summed operands are, without the axes that `vmap` added to them: those that no sum goes over.

    Flax asks of a scanned body, before it is scanned, what is constant there; that leaves marks with fewer operands.
    """
    sums = {
        id(operand): equation.params.get("axes")
        for inner in inner_programs(mark)
        for equation in inner.eqns
        if equation.primitive.name == "reduce_sum"
        for operand in equation.invars
    }
    found: list[Origin | None] = []
    for inner in inner_programs(mark):
        for origin, variable in zip(given, inner.invars, strict=True):
            if id(variable) not in sums:
                continue
            axes = sums[id(variable)]
            if axes is None:
                raise NotUnderstoodError("a sum whose axes are not said")
            for axis in sorted(set(range(_rank(variable))) - set(axes), reverse=True):
                origin = origin and origin.stepped(axis)
            found.append(origin)
    return found


def divided(equation: Any, inner: Any) -> tuple[int, int]:
    """How many constants and how many carried operands a scan has; those that are scanned come behind them.

    Raises:
      NotUnderstoodError: the shapes are not those of constants, carried, scanned.
    """
    more = [_rank(outer) - _rank(own) for outer, own in zip(equation.invars, inner.invars, strict=False)]
    gained = [_rank(outer) - _rank(own) for outer, own in zip(equation.outvars, inner.outvars, strict=False)]
    whole, carried = more.count(0), gained.count(0)
    ordered = all(axes == sorted(axes) and set(axes) <= {0, 1} for axes in (more, gained))
    fits = len(equation.invars) == len(inner.invars) and len(equation.outvars) == len(inner.outvars)
    if not (ordered and fits and carried <= whole):
        raise NotUnderstoodError(f"a scan whose operands have {more}, its results {gained} axes more outside it")
    return whole - carried, carried


def inner_programs(equation: Any) -> list[Any]:
    """The programs inside an equation, without what they close over."""
    found = list[Any]()
    for value in equation.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            program = one if hasattr(one, "eqns") and hasattr(one, "invars") else getattr(one, "jaxpr", None)
            if hasattr(program, "eqns") and hasattr(program, "invars"):
                found.append(program)
    return found


def _rank(variable: Any) -> int:
    return len(getattr(variable.aval, "shape", ()))
