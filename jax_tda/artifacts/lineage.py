"""What an artifact was made from, followed back through the manifests."""

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import files
from jax_tda.core.errors import InputError


def seconds(readers: list[Reader]) -> dict[str, float]:
    """Seconds that each stage behind these artifacts took, by the place of its artifact.

    Names are relative to the deepest directory that holds them all. A stage whose artifact is gone is left out.
    """
    found: dict[str, float] = {}
    pending = list(readers)
    while pending:
        reader = pending.pop()
        if str(reader) in found:
            continue
        found[str(reader)] = float(reader.manifest.run["seconds"])
        pending += [r for path in reader.manifest.run["inputs"].values() if (r := _open(path)) is not None]
    parts = [path.split("/")[:-1] for path in found]
    shared = 0
    while parts and all(len(p) > shared and p[shared] == parts[0][shared] for p in parts):
        shared += 1
    return {"/".join(path.split("/")[shared:]): value for path, value in sorted(found.items())}


def _open(path: str) -> Reader | None:
    place = files.at(path)
    try:
        if files.exists(place / "manifest.json"):
            return open_artifact(str(place))
        return open_artifact(str(place.parent), name=place.name)
    except InputError:
        return None
