"""The schema of a ranking: JSON lines, one per query, of any method, also of one that is not ours."""

import hashlib
from typing import Any

from jax_tda.artifacts import foreign_ranking
from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import files
from jax_tda.core.errors import InputError

KIND = "ranking"
# A directory of many rankings under one manifest.
SWEEP_KIND = "sweep"


def row(
    query_id: str, answered_exactly: bool, proponents: list[dict[str, Any]], opponents: list[dict[str, Any]]
) -> dict[str, Any]:
    """One line of a ranking; proponents best first, opponents worst first, each `{"id", "score"}`."""
    return {
        "query_id": query_id,
        "answered_exactly": answered_exactly,
        "proponents": proponents,
        "opponents": opponents,
    }


def read(path: str) -> tuple[list[dict[str, Any]], Reader | None]:
    """Reads a ranking file, checked against its manifest when it has one.

    Args:
      path: `NAME.jsonl`. A file without a manifest is taken for somebody else's ranking and only its form is checked.

    Raises:
      InputError: the file is missing or damaged, or a line is not a ranking row.
    """
    file = files.at(path)
    name = file.name.removesuffix(".jsonl")
    if files.exists(file.parent / f"{name}.manifest.json"):
        reader = open_artifact(str(file.parent), KIND, name=name)
        return list(reader.read_lines(file.name)), reader
    if not files.exists(file) or files.exists(file.parent / f"{name}.unfinished"):
        raise InputError(
            f"there is no finished ranking at {path}",
            got="an unfinished file" if files.exists(file) else "no file",
            expected="a JSON-lines file of rankings",
            remedy="check the path, or run the job that makes it",
        )
    rows = foreign_ranking.read(file)
    if rows.sorted:
        print(f"{file}: {rows.sorted:,} lists did not stand in the order of their scores and were sorted")
    return rows, None


def _readable(name: str) -> str:
    """The name, if it is text."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            "a ranking has a name that is no UTF-8",
            got=repr(name),
            expected="a name that a report and a page can show",
            remedy="rename the file",
        ) from error
    return name


def read_all(path: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Reader], dict[str, str]]:
    """Rows by method, the artifacts among them, and SHA-256 of the files that are nobody's artifact."""
    place = files.at(path)
    if files.exists(place / "manifest.json"):
        sweep = open_artifact(path, SWEEP_KIND)
        names = sorted(name for name in sweep.manifest.files if name.endswith(".jsonl"))
        rows = {name.removesuffix(".jsonl"): list(sweep.read_lines(name)) for name in names}
        return rows, dict.fromkeys(rows, sweep), {}
    if place.name.endswith(".jsonl"):
        found = [place]
    else:
        found = [place / name for name in files.names(place) if name.endswith(".jsonl")]
    if not found:
        raise InputError(
            f"there is no ranking at {path}",
            got="no .jsonl file",
            expected="a ranking file, or a directory of them",
            remedy="run score or rank_baseline first, or check the path",
        )
    rankings, readers, foreign = dict[str, Any](), dict[str, Reader](), dict[str, str]()
    for file in found:
        name = _readable(file.name.removesuffix(".jsonl"))
        rankings[name], reader = read(str(file))
        if reader is None:
            foreign[name] = hashlib.sha256(files.read(file)).hexdigest()
        else:
            readers[name] = reader
    return rankings, readers, foreign
