"""Seeded damage: to JSON as people and tools do it, to bytes, to lines of settings."""

import contextlib
import copy
import json
import resource
import time

# What stands in files in place of what should: other types, other sizes, nothing, and what JSON itself does not know.
STRANGE = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 10**18, -(10**18), 0.5, 1e-9, 1e300, float("inf"), float("nan")),
    *("", "16", "none", "true", "default", "yarn", "../up", "\u0000", "ü" * 40, [], [1], [None, "x"], {}, {"a": 1}),
    *([[[[]]]], {"type": "linear", "factor": 2.0}, "x" * 5000),
)
CPU_SECONDS, GROWTH_BYTES = 10, 1 << 30


def places(value, path=()):
    """Every path into a JSON value, the root left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        yield (*path, key)
        yield from places(held, (*path, key))


def _at(value, path):
    for key in path:
        value = value[key]
    return value


def json_value(value, random, most=3):
    """A copy with one to `most` entries changed, removed, moved, doubled or added."""
    made = copy.deepcopy(value)
    for _ in range(random.integers(1, most + 1)):
        found = list(places(made))
        if not found:
            return made
        # Short paths as often as long ones: a vocabulary of a thousand pieces is one entry among others.
        depths = sorted({len(path) for path in found})
        depth = depths[random.integers(len(depths))]
        found = [path for path in found if len(path) == depth]
        path = found[random.integers(len(found))]
        holder, key = _at(made, path[:-1]), path[-1]
        action = random.integers(6)
        if action == 0:
            del holder[key]
        elif action == 1:
            holder[key] = _at(made, found[random.integers(len(found))])
        elif action == 2 and isinstance(holder, dict):
            holder[f"{key}_more"] = holder[key]
        elif action == 3 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = holder[key] * [-1, 0, 2, 3, 0.5, 1000][random.integers(6)]
        else:
            holder[key] = copy.deepcopy(STRANGE[random.integers(len(STRANGE))])
        made = copy.deepcopy(made)  # An entry moved into itself would be a circle.
    return made


def json_text(value, random, most=3):
    """Its text, one time in eight damaged as text."""
    text = json.dumps(json_value(value, random, most), ensure_ascii=bool(random.integers(2)))
    return damaged(text.encode("utf-8", "surrogatepass"), random) if random.integers(8) == 0 else text.encode()


def damaged(data, random, most=3):
    """Bytes with some flipped, cut, doubled or put in."""
    made = bytearray(data)
    for _ in range(random.integers(1, most + 1)):
        at, action = int(random.integers(max(1, len(made)))), random.integers(4)
        if action == 0:
            made[at : at + 1] = bytes([random.integers(256)])
        elif action == 1:
            del made[at : at + int(random.integers(1, 16))]
        elif action == 2:
            made[at:at] = made[at : at + int(random.integers(1, 16))]
        else:
            made = made[: max(1, at)]
    return bytes(made)


@contextlib.contextmanager
def bounded():
    """No more than ten seconds of this thread's time and a gigabyte of growth.

    Looked at afterwards: an error raised by a clock, in the midst of whatever Python is doing, leaves that half done.
    """
    began, peak = time.thread_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    taken = time.thread_time() - began
    assert taken <= CPU_SECONDS, f"{taken:.1f} s before an answer"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) * 1024 < GROWTH_BYTES
