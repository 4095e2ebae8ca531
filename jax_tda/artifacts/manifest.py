"""The record that turns files into an artifact: what it is, what made it, from what, and what each file must contain.

A manifest has two halves. `content` is everything that decides the numbers and what came out; its digest is the
artifact's identity for those who build on it. `run` is what happened on the day (seconds, versions of the machine's
packages) and is not part of the digest. A file that holds a clock of its own (orbax's metadata, TensorBoard's events in
a checkpoint) is a file like any other: a checkpoint trained again is another checkpoint.
"""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from typing import Any

from jax_tda.core.errors import InputError

SCHEMA = 1


def canonical(value: Any) -> bytes:
    """The one JSON spelling of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What an artifact says of itself.

    Args:
      kind: which schema the files follow (`encodings`, `curvature`, …).
      settings: every option that can change a number.
      inputs: for each input its kind and digest.
      facts: what the job found out (shapes, counts, names), in JSON values.
      files: for each file its size, and its SHA-256 unless the format checks itself (array shards carry crc32c, and
        their chunks' digests lie beside the array).
      run: seconds, versions and paths of the run, and the lineage of its inputs; not part of the identity.
    """

    kind: str
    settings: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    facts: dict[str, Any]
    files: dict[str, dict[str, Any]]
    run: dict[str, Any]

    def content(self) -> dict[str, Any]:
        """The half that decides the artifact's identity."""
        return {
            "schema": SCHEMA,
            "kind": self.kind,
            "settings": self.settings,
            "inputs": self.inputs,
            "facts": self.facts,
            "files": self.files,
        }

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest(self.content())

    def to_bytes(self) -> bytes:
        """The manifest file: readable JSON with the digest of the content and a checksum over all of it."""
        body = {"content": self.content(), "run": self.run, "digest": self.digest}
        body["checksum"] = digest(body)
        return (json.dumps(body, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @staticmethod
    def from_bytes(data: bytes, path: str) -> "Manifest":
        """Reads what `to_bytes` wrote; any other byte anywhere is refused.

        Raises:
          InputError: the bytes are not exactly what this library would have written for their content.
        """
        try:
            body = json.loads(data)
            content = body["content"]
            manifest = Manifest(
                content["kind"],
                content["settings"],
                content["inputs"],
                content["facts"],
                content["files"],
                body["run"],
            )
            intact = content["schema"] == SCHEMA and _well_formed(manifest) and manifest.to_bytes() == data
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            intact = False
        if not intact:
            raise InputError(
                f"the manifest {path} is damaged or from another version",
                got="bytes that do not match their own checksum",
                expected=f"a manifest of schema {SCHEMA}",
                remedy="delete the artifact and run its job again",
            )
        return manifest


def _well_formed(made: Manifest) -> bool:
    """Whether every field that readers rely on has its type; an edited manifest may carry a right checksum."""
    run = made.run
    return (
        isinstance(made.kind, str)
        and isinstance(made.settings, dict)
        and isinstance(made.facts, dict)
        and all(isinstance(one["kind"], str) and isinstance(one["digest"], str) for one in made.inputs.values())
        and all(_is_below(name) and _describes(one) for name, one in made.files.items())
        and type(run["seconds"]) in (int, float)
        and all(isinstance(path, str) for path in run["inputs"].values())
        and all(isinstance(digest, str) for one in run.get("lineage", {}).values() for digest in one["inputs"].values())
    )


def _describes(described: dict[str, Any]) -> bool:
    size, sha256 = described["bytes"], described.get("sha256", "")
    return type(size) is int and size >= 0 and isinstance(sha256, str)


def _is_below(name: str) -> bool:
    """Whether a file's name stays in the artifact's directory."""
    return not name.startswith("/") and "\0" not in name and not {"", ".", ".."} & set(name.split("/"))


def lineage_of(inputs: Iterable[Manifest]) -> dict[str, Any]:
    """Everything that artifacts made of these come from: by digest the kind, and the digest of each input by name."""
    found: dict[str, Any] = {}
    for made in inputs:
        found |= made.run.get("lineage", {})
        names = {name: described["digest"] for name, described in made.inputs.items()}
        found[made.digest] = {"kind": made.kind, "inputs": names}
    return dict(sorted(found.items()))


_PACKAGES = ("jax_tda", "jax", "jaxlib", "flax", "optax", "numpy", "tensorstore", "sentencepiece", "bm25s")


def versions() -> dict[str, str]:
    """The versions of the packages that numbers depend on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
