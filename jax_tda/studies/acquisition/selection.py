"""Which passages are injected how often, which never, and which only teach the model to read."""

import dataclasses
from collections.abc import Sequence

from jax_tda.core import seeds
from jax_tda.core.errors import InputError
from jax_tda.studies.acquisition.config import AcquisitionConfig
from jax_tda.studies.acquisition.knowledge import Passage, same

SCHEDULES = ("paraphrased", "duplicated", "once", "placebo")


@dataclasses.dataclass(frozen=True)
class Selection:
    """The passages of one seed.

    Attributes:
      passages: those that are looked at, in the order of their encounters; placebo last.
      schedules: how each is injected, one of SCHEDULES.
      rest: all others of the file, whose texts belong to the ordinary corpus.
      counts: how many passages there were, fitted, and were chosen.
    """

    passages: tuple[Passage, ...]
    schedules: tuple[str, ...]
    rest: tuple[Passage, ...]
    counts: dict[str, int]


def choose(passages: Sequence[Passage], longest: Sequence[int], config: AcquisitionConfig, seed: int) -> Selection:
    """Draws `passages` passages for every schedule and `placebo` more that are never injected.

    A passage can be drawn when each of its versions fits into the context; to be paraphrased, it needs a rewording for
    every encounter after the first. Injected passages stand in a random order, so that no schedule comes first.

    Args:
      passages: all of the file.
      longest: the tokens of each one's longest version.
      config: how many of each, context and encounters.
      seed: of the drawing.

    Raises:
      InputError: there are fewer passages than that.
    """
    context, each, encounters = config.context, config.passages, config.encounters
    order = [int(i) for i in seeds.generator(seed, "acquisition", "passages").permutation(len(passages))]
    fitting = [i for i in order if longest[i] <= context]
    reworded = [i for i in fitting if len(passages[i].paraphrases) >= encounters - 1]
    needed = 2 * each + config.placebo
    if len(reworded) < each or len(fitting) - each < needed:
        raise InputError(
            "there are fewer passages than the schedules need",
            got=f"{len(passages)} passages, {len(fitting)} of them of at most {context} tokens in every version, "
            f"{len(reworded)} of these with at least {encounters - 1} paraphrases",
            expected=f"{each + needed} passages, {each} of them with {encounters - 1} paraphrases",
            remedy="lower study_acquisition.passages, placebo or encounters, raise context, or give a larger file",
        )
    chosen = reworded[:each]
    left = [i for i in fitting if i not in chosen]
    schedule = dict.fromkeys(chosen, "paraphrased")
    for number, i in enumerate(left[:needed]):
        schedule[i] = "duplicated" if number < each else "once" if number < 2 * each else "placebo"
    injected = [i for i in schedule if schedule[i] != "placebo"]
    shuffled = seeds.generator(seed, "acquisition", "order").permutation(len(injected))
    ordered = [injected[i] for i in shuffled] + [i for i in schedule if schedule[i] == "placebo"]
    counts = {"in_file": len(passages), "fitting": len(fitting), "with_paraphrases": len(reworded)}
    counts["chosen"] = len(ordered)
    return Selection(
        tuple(passages[i] for i in ordered),
        tuple(schedule[i] for i in ordered),
        tuple(passage for i, passage in enumerate(passages) if i not in schedule),
        counts,
    )


def refuse_stated(selections: Sequence[Selection], texts: Sequence[str]) -> None:
    """Refuses ordinary text that states a passage which is looked at, in its own words or reworded.

    Args:
      selections: of all seeds.
      texts: the documents of the ordinary corpus.

    Raises:
      InputError: naming passage and document.
    """
    drawn = {passage.number: passage for selection in selections for passage in selection.passages}
    versions = [(number, same(text)) for number, one in drawn.items() for text in (one.text, *one.paraphrases)]
    for place, document in enumerate(map(same, texts)):
        for number, version in versions:
            if version in document:
                raise InputError(
                    f"document {place} of the ordinary corpus holds the text of passage {number}",
                    got=repr(version)[:80],
                    expected="ordinary text in which no passage that is drawn stands",
                    remedy="take it out of study_acquisition.corpus, or the passage out of study_acquisition.knowledge",
                )
