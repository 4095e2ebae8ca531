"""What an artifact was made from, followed back through the manifests."""

from collections.abc import Mapping

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


# What a ranking was made of, as chains of its inputs' names: of encodings, of texts, of a store that was never written,
# and of the answers that it carries.
_MADE_OF = {
    "corpus": ("train/examples", "corpus", "examples"),
    "queries": ("query/examples", "queries", "answers/queries"),
    "checkpoint": ("train/checkpoint", "query/checkpoint", "checkpoint", "answers/checkpoint"),
    "answers": ("answers",),
}


def check_made_of(made: str, reader: Reader, judged_with: Mapping[str, Reader]) -> list[str]:
    """Refuses to judge a ranking, or by answers, with other texts or another model than they were made of.

    Args:
      made: how messages name it.
      reader: its artifact.
      judged_with: of `corpus`, `queries`, `checkpoint` and `answers` those that it is used with.

    Returns:
      The names of those that could not be compared, as an artifact of an earlier version does not tell what lay behind
      its inputs, and they are gone.

    Raises:
      InputError: a digest differs.
    """
    unknown = []
    for name, given in judged_with.items():
        found = [_follow(reader, chain.split("/")) for chain in _MADE_OF.get(name, ())]
        for digest in found:
            if digest and digest != given.manifest.digest:
                raise InputError(
                    f"{made} was not made with the {name} {given}",
                    got=f"{name} {digest[:12]}",
                    expected=f"{name} {given.manifest.digest[:12]}, the digest of {given}",
                    remedy=f"give the {name} that it was made with, or make it again",
                )
        if None in found and not any(found):
            unknown.append(name)
    return unknown


def _follow(reader: Reader, chain: list[str]) -> str | None:
    """The digest of the artifact at the end of a chain of inputs.

    Returns:
      Empty where there is no such input; None where what lies between cannot be asked.
    """
    described = reader.manifest.inputs.get(chain[0])
    if described is None:
        return ""
    digest: str = described["digest"]
    if len(chain) == 1:
        return digest
    known = reader.manifest.run.get("lineage", {}).get(digest)
    if known is not None:
        return str(known["inputs"].get(chain[1], ""))
    # Of an artifact that was made before lineages were kept.
    between = _open(reader.manifest.run["inputs"][chain[0]])
    if between is None or between.manifest.digest != digest:
        return None
    return _follow(between, chain[1:])
