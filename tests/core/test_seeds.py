"""Laws of named randomness."""

import subprocess
import sys

import jax
import numpy as np

from jax_tda.core import seeds

NAMES = [(), ("a",), ("b",), ("a", "b"), ("b", "a"), ("ab",), ("a", 1), ("a", 11), ("a", 1, 1), ("a", ""), ("", "a")]


def drawn(root, *names):
    return jax.random.bits(seeds.named(root, *names), (4,)).tolist(), seeds.generator(root, *names).integers(
        0, 2**62, 4
    )


def test_one_name_gives_one_stream_in_every_process():
    """Law: the numbers depend on root and names alone: not on the process, its hash seed or what was drawn before."""
    code = (
        "import jax; from jax_tda.core import seeds; "
        "print(jax.random.bits(seeds.named(3, 'projection', 'w', 2), (4,)).tolist(), "
        "seeds.generator(3, 'projection', 'w', 2).integers(0, 2**62, 4).tolist())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    bits, integers = drawn(3, "projection", "w", 2)
    assert elsewhere.stdout.strip() == f"{bits} {integers.tolist()}"


def test_other_names_and_other_roots_give_other_streams():
    """Law: roots, names, their order and where one ends and the next begins all count; a number is its spelling."""
    streams = [drawn(root, *names) for root in (0, 1, -1, 2**40) for names in NAMES]
    assert len({str(bits) for bits, _ in streams}) == len(streams)
    assert len({str(integers) for _, integers in streams}) == len(streams)
    assert drawn(0, "a", 1)[0] == drawn(0, "a", "1")[0] == drawn(np.int64(0), "a", np.int32(1))[0]


def test_a_stream_is_known_for_good():
    """Law: a change of these numbers changes every projection and sample ever drawn, so it must be meant."""
    assert seeds.generator(0, "projection").integers(0, 1000, 5).tolist() == [627, 528, 695, 63, 245]
    assert jax.random.key_data(seeds.named(0, "projection")).tolist() == [95776369, 354933204]
