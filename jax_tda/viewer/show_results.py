"""show_results: a page of results files, whoever made them: no corpus, no report, no model is needed."""

import dataclasses
import hashlib
from typing import Annotated

from jax_tda.artifacts import paper_results, results
from jax_tda.artifacts.artifact import Reader, begin
from jax_tda.artifacts.together import by_first
from jax_tda.core import files
from jax_tda.core.bounds import Items
from jax_tda.core.config import settings
from jax_tda.core.declared import declared, demand
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.viewer import page
from jax_tda.viewer.material import Material
from jax_tda.viewer.run import KIND
from jax_tda.viewer.settings import PageConfig


@dataclasses.dataclass(frozen=True)
@declared("show_results")
class ShowResultsConfig:
    """Which files are shown.

    Args:
      files: results files, of jax_tda's own form (docs/page.md) or of the one that TrackStar's authors describe.
      page: how much of them is shown.
    """

    files: Annotated[tuple[Path, ...], Items(0, 64, different=True)] = ()
    page: PageConfig = dataclasses.field(default_factory=PageConfig)


def plan(config: ShowResultsConfig, output: str) -> str:
    """What the job would do."""
    return f"show_results: a page of {', '.join(config.files)} → {output}"


@by_first
def run(config: ShowResultsConfig, output: str) -> Reader:
    """Writes the page artifact."""
    demand(config, bool(config.files), "files", "one file at least")
    digests = {name: hashlib.sha256(files.read(files.at(name))).hexdigest() for name in map(_there, config.files)}
    writer = begin(output, KIND, settings(config) | {"files": sorted(digests.values())}, {})
    if isinstance(writer, Reader):
        return writer
    found = read(config.files)
    material = Material([*found.queries.values()], found.passages, found.rankings, found.words, answers=found.answers)
    for name, data in page.render(material, config.page).items():
        writer.write_bytes(name, data)
    return writer.finish({"queries": len(found.queries), "methods": sorted(found.rankings)})


def _there(name: str) -> str:
    if not files.exists(files.at(name)):
        raise InputError(
            f"there is no results file {name}",
            got="no file",
            expected="a file of JSON lines",
            remedy="check show_results.files",
        )
    return name


def read(names: tuple[str, ...]) -> results.Results:
    """What the files say together.

    Raises:
      InputError: a file is of neither form, or one contradicts another.
    """
    found = results.Results()
    for name in names:
        file = files.at(name)
        first = next((line for _, line in results.lines(file)), {})
        if results.is_ours(first):
            results.read(file, found)
        elif paper_results.is_paper(first):
            paper_results.read(file, found)
        else:
            raise InputError(
                f"{name} is no results file",
                got=f"a first line with {', '.join(first) or 'nothing'}",
                expected=f'"format": "{results.FORMAT}", or inputs_plaintext and proponents',
                remedy="a ranking alone has no texts: `jax-tda show` reads it with its corpus, queries and report"
                if "query_id" in first
                else "write it as docs/page.md describes",
            )
    return found
