"""How an artifact comes to be: claimed, filled unit by unit, committed by its manifest; and how it is read back.

Nothing here renames. An artifact is finished when its manifest exists, and the manifest is written last. Until then
`unfinished/` beside it holds the plan and one record per finished unit of work, so that the same command goes on.
"""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from jax_tda.artifacts import arrays, chunk_digests, makers
from jax_tda.artifacts.faults import explained
from jax_tda.artifacts.lease import Lease, Watch, take
from jax_tda.artifacts.lines import Lines
from jax_tda.artifacts.manifest import Manifest, canonical, lineage_of, versions
from jax_tda.artifacts.place import Place, must_match, sha256
from jax_tda.artifacts.units import Units
from jax_tda.core import files, permits, processes
from jax_tda.core.errors import InputError


class Writer:
    """A claimed, unfinished artifact. Made by `begin`.

    Of several processes each has a Writer of the same artifact. All call the same methods in the same order, but for
    `finish_unit`, `finished_units` and `scratch`, which each calls for itself; files are written by process 0.
    """

    def __init__(self, place: Place, kind: str, settings: dict[str, Any], inputs: "dict[str, Reader]"):
        self._place, self.kind, self._settings = place, kind, settings
        self._inputs = {n: {"kind": r.manifest.kind, "digest": r.manifest.digest} for n, r in sorted(inputs.items())}
        self._paths = {n: str(r) for n, r in sorted(inputs.items())}
        self._lineage = lineage_of(r.manifest for r in inputs.values())
        self._started = time.monotonic()
        self._hashes: dict[str, str] = {}
        self._arrays: dict[str, arrays.Array] = {}
        self._units = Units(place.unfinished / "units", self._arrays)
        # Of several processes the first holds it, and the others watch it.
        self.lease: Lease | Watch | None = None

    @property
    def path(self) -> epath.Path:
        """The directory that holds the artifact."""
        return self._place.directory

    def hold(self, lease: Lease | Watch) -> None:
        """From now on everybody who writes below the artifact asks this lease."""
        self.lease = lease
        permits.hold(self._place.beginning, lease)

    @property
    def token(self) -> str:
        """Of the lease; empty of a process that only watches it."""
        return self.lease.token if isinstance(self.lease, Lease) else ""

    def let_go(self) -> None:
        """Nobody is asked any more; what lies beside the artifact may go."""
        permits.release(self._place.beginning)
        if isinstance(self.lease, Lease):
            self.lease.stop()
        with explained(str(self._place)):
            files.delete(self._place.unfinished)

    def plan(self) -> dict[str, Any]:
        """What is being made: kind, settings and inputs, before anything is known of the result."""
        return {"kind": self.kind, "settings": json.loads(canonical(self._settings)), "inputs": self._inputs}

    def write_bytes(self, name: str, data: bytes) -> None:
        """Writes one whole file."""

        def write() -> str:
            with explained(str(self.path / name)):
                files.write(self.path / name, data)
            return hashlib.sha256(data).hexdigest()

        self._hashes[name] = processes.agree(write)

    def write_json(self, name: str, value: Any) -> None:
        """Writes a JSON file; NaN is refused."""
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
        self.write_bytes(name, (text + "\n").encode())

    def write_lines(self, name: str, rows: Iterable[Any]) -> int:
        """Writes JSON lines, one row at a time, and returns their number."""
        count = 0

        def lines() -> Iterator[bytes]:
            nonlocal count
            for row in rows:
                count += 1
                yield (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()

        self.write_parts(name, lines())
        return processes.agree(lambda: count)

    def write_parts(self, name: str, parts: Iterable[bytes]) -> None:
        """Writes a file of bytes, one part after another; of several processes the first takes the parts."""

        def write() -> str:
            hasher = hashlib.sha256()

            def seen() -> Iterator[bytes]:
                for part in parts:
                    hasher.update(part)
                    yield part

            with explained(str(self.path / name)):
                files.write_stream(self.path / name, seen())
            return hasher.hexdigest()

        self._hashes[name] = processes.agree(write)

    def array(self, name: str, shape: tuple[int, ...], dtype: str, shard_rows: int, **options: Any) -> arrays.Array:
        """Makes, or on resumption opens, an array below the artifact; its shards check themselves."""

        def create() -> arrays.Array:
            return arrays.create(str(self.path / name), shape, dtype, shard_rows, **options)

        if processes.count() > 1:
            # One process makes it; then all open the same.
            processes.agree(lambda: create().path)
        made = create()
        self._arrays[name] = made
        return made

    def finished_units(self) -> dict[str, Any]:
        """The facts recorded for each unit that an earlier run finished."""
        return self._units.finished()

    def finish_unit(self, unit: str, facts: dict[str, Any]) -> None:
        """Records, atomically and after its data, that a unit of work is finished."""
        self._units.finish(unit, facts)

    def start_over(self) -> None:
        """Forgets the finished units and `scratch`: of a job that refuses its input only a plan is left."""
        for name in ("units", "scratch"):
            files.delete(self._place.unfinished / name)

    def scratch(self) -> epath.Path:
        """A directory for what is needed only until the artifact is finished (intermediate checkpoints)."""
        return self._place.unfinished / "scratch"

    def finish(self, facts: dict[str, Any], *, seconds: float | None = None) -> "Reader":
        """Writes the manifest, which is what makes the artifact exist, and clears the traces of the work.

        Of several processes it waits for all; the facts are those of process 0.
        """
        processes.barrier("finish")
        text = processes.agree(lambda: self._commit(facts, seconds))
        return Reader(self._place, Manifest.from_bytes(text.encode(), str(self._place.manifest)))

    def _commit(self, facts: dict[str, Any], seconds: float | None) -> str:
        permits.ask(self._place.manifest)
        sizes = self._place.sizes_of(self._hashes) if self._place.name else self._place.sizes()
        for name, array in self._arrays.items():
            arrays.demand_shards(str(self.path), name, array.shards, sizes)
        sizes |= self._write_digests()
        described = {name: self._describe(name, size) for name, size in sorted(sizes.items())}
        run = {
            "seconds": round(time.monotonic() - self._started if seconds is None else seconds, 3),
            "versions": versions(),
            "inputs": self._paths,
            "lineage": self._lineage,
        }
        manifest = Manifest(self.kind, self.plan()["settings"], self._inputs, facts, described, run)
        arrays.write_atomically(str(self._place.manifest), manifest.to_bytes())
        self.let_go()
        return manifest.to_bytes().decode()

    def _write_digests(self) -> dict[str, int]:
        sizes = dict[str, int]()
        for array, data in self._units.digests().items():
            name = f"{array}{chunk_digests.FILE}"
            with explained(str(self.path / name)):
                files.write(self.path / name, data)
            self._hashes[name], sizes[name] = hashlib.sha256(data).hexdigest(), len(data)
        return sizes

    def _describe(self, name: str, size: int) -> dict[str, Any]:
        described: dict[str, Any] = {"bytes": size}
        shard = any(name.startswith(f"{array}/") for array in self._arrays) and not name.endswith("zarr.json")
        if not shard:
            described["sha256"] = self._hashes.get(name) or sha256(self.path / name)
        return described


@functools.cache
def _say_once(text: str) -> None:
    if processes.index() == 0:
        print(text, flush=True)


class Reader:
    """A finished artifact. Files are checked against the manifest when they are read."""

    def __init__(self, place: Place, manifest: Manifest):
        self._place, self.manifest = place, manifest

    @property
    def path(self) -> epath.Path:
        """The directory that holds the artifact."""
        return self._place.directory

    @property
    def name(self) -> str | None:
        """What an artifact that is files in a shared directory is called there; None of one that is a directory."""
        return self._place.name

    def __str__(self) -> str:
        return str(self._place)

    def check_sizes(self) -> None:
        """Names the first file that is missing or has another size than the manifest says."""
        sizes = self._place.sizes_of(self.manifest.files)
        for name, described in self.manifest.files.items():
            if (size := sizes.get(name)) != described["bytes"]:
                raise self._damaged(name, "no file" if size is None else f"{size} bytes", f"{described['bytes']} bytes")

    def check_file(self, name: str) -> epath.Path:
        """The path of one file, after its bytes were found to match the manifest."""
        expected, path = self._listed(name)["sha256"], self.path / name
        got = sha256(path) if files.exists(path) else "of no file"
        if got != expected:
            raise self._damaged(name, f"SHA-256 {got}", f"SHA-256 {expected}")
        return path

    def _listed(self, name: str) -> dict[str, Any]:
        if name not in self.manifest.files:
            raise self._damaged(name, "a manifest that does not list it", "the file among the artifact's files")
        return self.manifest.files[name]

    def check_files(self, prefix: str = "") -> None:
        """Checks every file below a prefix that does not check itself."""
        for name, described in self.manifest.files.items():
            if name.startswith(prefix) and "sha256" in described:
                self.check_file(name)

    def read_bytes(self, name: str) -> bytes:
        """The bytes of one small file, checked."""
        return files.read(self.check_file(name))

    def read_json(self, name: str) -> Any:
        """The value of one JSON file, checked."""
        return json.loads(self.read_bytes(name))

    def read_lines(self, name: str) -> Iterator[Any]:
        """The rows of a JSON-lines file, checked before the first is given out."""
        for line in files.lines(self.check_file(name)):
            yield json.loads(line)

    def lines(self, name: str) -> Lines:
        """The rows of a JSON-lines file by number, checked once, read when they are asked for."""
        described = self._listed(name)
        if not files.exists(self.path / name):
            raise self._damaged(name, "SHA-256 of no file", f"SHA-256 {described['sha256']}")
        found = Lines(self.path / name, lambda got: self._damaged(name, got, "the file that was opened"))
        if found.digest != described["sha256"]:
            raise self._damaged(name, f"SHA-256 {found.digest}", f"SHA-256 {described['sha256']}")
        return found

    def array(self, name: str) -> arrays.Array:
        """An array below the artifact, its metadata checked; its shards are compared as they are read."""
        self.check_files(f"{name}/")
        digests = f"{name}{chunk_digests.FILE}"
        if digests in self.manifest.files:
            return arrays.open_array(str(self.path / name), self.read_bytes(digests))
        _say_once(
            f"{self} was made before digests of shards were kept: a damaged shard is noticed, one that was exchanged "
            "with another is not"
        )
        return arrays.open_array(str(self.path / name))

    def _damaged(self, name: str, got: str, expected: str) -> InputError:
        return InputError(
            f"the file {self.path / name} of the {self.manifest.kind} artifact is damaged",
            got=got,
            expected=expected,
            remedy="delete the artifact and run its job again, or restore the file from a copy",
        )


def begin(
    directory: str, kind: str, settings: dict[str, Any], inputs: dict[str, Reader], name: str | None = None
) -> Writer | Reader:
    """Claims a place for an artifact.

    A plan under which nothing was written yet gives way to another: a job that refused its input leaves no more. Of
    several processes the first claims, and all get its answer.

    Returns:
      A Reader when this very artifact is already finished there; otherwise a Writer, fresh or resuming.

    Raises:
      InputError: the place holds something else.
    """
    place = Place(directory, name)
    writer = Writer(place, kind, settings, inputs)
    claimed = list[Writer | Reader]()

    def claim() -> str:
        claimed.append(_claim(place, writer))
        return writer.token if claimed[0] is writer else ""

    token = processes.agree(claim)
    if claimed:
        return claimed[0]
    if not token:
        return open_artifact(directory, name=name)
    writer.hold(Watch(str(place.unfinished), str(place), token))
    return writer


def _claim(place: Place, writer: Writer) -> Writer | Reader:
    plan = writer.plan()
    if (finished := _finished(place, plan)) is not None:
        if place.has_traces():  # Of a process that died while it cleared them; one that lives holds the lease.
            with contextlib.suppress(InputError, OSError):
                writer.hold(take(str(place.unfinished), str(place)))
                writer.let_go()
        return finished
    strangers = place.strangers()
    planned = files.exists(place.plan)
    if strangers and planned:
        must_match(place, plan, json.loads(files.read(place.plan)))
    elif strangers:
        raise InputError(
            f"the output {place} holds something else",
            got=", ".join(strangers[:5]) + (", …" if len(strangers) > 5 else ""),
            expected="an empty or missing directory, or the unfinished output of the same job",
            remedy="choose another --output_dir, or delete what is there",
        )
    with explained(str(place)):
        files.make_folder(place.unfinished)
        writer.hold(take(str(place.unfinished), str(place)))
    # Whoever held the lease before may have finished in the meantime.
    if (finished := _finished(place, plan)) is not None:
        writer.let_go()
        return finished
    # Only now: another job's writes are its own business.
    place.clear_interrupted_writes()
    if not (strangers and planned):
        arrays.write_atomically(str(place.plan), canonical(plan))
    return writer


def _finished(place: Place, plan: dict[str, Any]) -> Reader | None:
    """The artifact that lies finished at a place, if it is the planned one."""
    if not files.exists(place.manifest):
        return None
    reader = open_artifact(str(place.directory), name=place.name)
    made = reader.manifest
    must_match(place, plan, {"kind": made.kind, "settings": made.settings, "inputs": made.inputs})
    return reader


def open_artifact(directory: str, kind: str | None = None, name: str | None = None) -> Reader:
    """Opens a finished artifact.

    Args:
      directory: where it lies.
      kind: the kind that is needed; None takes any.
      name: for artifacts that are files in a shared directory.

    Raises:
      InputError: it is missing, unfinished, damaged or of another kind.
    """
    place = Place(directory, name)
    if not files.exists(place.manifest):
        if files.exists(place.plan):
            got, remedy = "an unfinished artifact", "run the job that makes it again: it goes on where it stopped"
        else:
            got, remedy = makers.meant(place.directory, None if name else kind)
        raise InputError(
            f"there is no finished {kind or 'artifact'} at {place}",
            got=got,
            expected=f"the file {place.manifest}",
            remedy=remedy,
        )
    manifest = Manifest.from_bytes(files.read(place.manifest), str(place.manifest))
    if kind is not None and manifest.kind != kind:
        raise InputError(
            f"{place} is not what this input needs",
            got=f"an artifact of kind {manifest.kind}",
            expected=f"an artifact of kind {kind}",
            remedy="give the path of the right artifact",
        )
    reader = Reader(place, manifest)
    reader.check_sizes()
    return reader
