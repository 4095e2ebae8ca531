"""Laws of the manifest: what it says is what was written, to the byte, and the same work has the same identity."""

import dataclasses

import pytest

from jax_tda.artifacts.manifest import Manifest
from jax_tda.core.errors import InputError

MANIFEST = Manifest(
    kind="encodings",
    settings={"seed": 3, "rate": 0.1, "names": ["a", "é"], "nothing": None},
    inputs={"corpus": {"kind": "corpus", "digest": "0" * 64}},
    facts={"examples": 2, "blocks": ["group_0/attention"]},
    files={"ids.jsonl": {"bytes": 20, "sha256": "1" * 64}},
    run={"seconds": 1.5, "versions": {"jax": "1.0"}, "inputs": {"corpus": "somewhere"}},
)


def test_a_manifest_comes_back_as_it_was_written():
    """from_bytes(to_bytes(m)) = m."""
    assert Manifest.from_bytes(MANIFEST.to_bytes(), "m") == MANIFEST


def test_any_flipped_bit_of_a_manifest_is_refused():
    """Exhaustive: each bit of each byte, in content and in what happened on the day alike."""
    data = MANIFEST.to_bytes()
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[place] ^= 1 << bit
            with pytest.raises(InputError, match="the manifest m is damaged"):
                Manifest.from_bytes(bytes(flipped), "m")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{}", b'{"content": 3}', b"\xff", MANIFEST.to_bytes()[:-1], MANIFEST.to_bytes() * 2]
)
def test_what_is_no_manifest_is_refused_in_four_parts(data):
    """Cut short, doubled, or another kind of file altogether."""
    with pytest.raises(InputError, match=r"(?s)damaged.*got:.*expected:.*remedy:"):
        Manifest.from_bytes(data, "m")


def test_identity_is_the_work_and_not_the_day():
    """Seconds, versions and paths leave the digest alone; any setting, input, fact or file changes it."""
    later = dataclasses.replace(MANIFEST, run={"seconds": 9.0, "versions": {}, "inputs": {"corpus": "elsewhere"}})
    assert later.digest == MANIFEST.digest
    for part in ("settings", "inputs", "facts", "files"):
        assert dataclasses.replace(MANIFEST, **{part: getattr(MANIFEST, part) | {"x": {}}}).digest != MANIFEST.digest
    assert dataclasses.replace(MANIFEST, kind="corpus").digest != MANIFEST.digest


def test_no_manifest_holds_a_number_that_json_lacks():
    """NaN would be written as no JSON at all."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(MANIFEST, facts={"loss": float("nan")}).to_bytes()


EDITS = [
    *[("kind", value) for value in (1, None)],
    *[("settings", value) for value in ([], None)],
    *[("inputs", value) for value in ([1], {"a": 1}, {"a": {"kind": "x"}}, {"a": {"kind": "x", "digest": 3}})],
    ("facts", "text"),
    *[("files", value) for value in ([], {"a": 1}, {"a": {}}, {"a": {"bytes": "1"}}, {"a": {"bytes": -1}})],
    *[("files", {name: {"bytes": 0}}) for name in ("../a", "/a", "a//b", "", "a/../b")],
    ("files", {"a": {"bytes": 1, "sha256": 3}}),
    *[("run", value) for value in ([], {}, {"seconds": "1", "inputs": {}}, {"seconds": 1, "inputs": [1]})],
    ("run", {"seconds": 1, "inputs": {}, "lineage": {"d": 1}}),
]


@pytest.mark.parametrize(("field", "value"), EDITS, ids=repr)
def test_an_edited_manifest_whose_checksum_was_made_right_is_refused_by_its_types(field, value):
    """Law: every field that readers rely on has its type, and no file lies elsewhere; never a traceback."""
    fields = {"kind": "thing", "settings": {}, "inputs": {}, "facts": {}, "files": {}}
    made = Manifest(**fields, run={"seconds": 1.5, "inputs": {}})
    assert Manifest.from_bytes(made.to_bytes(), "m") == made
    with pytest.raises(InputError, match=r"(?s)the manifest m is damaged.*remedy"):
        Manifest.from_bytes(dataclasses.replace(made, **{field: value}).to_bytes(), "m")
