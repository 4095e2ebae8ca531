"""What exact scores are asked along and of whom: the direction's estimates, and each query's passages in a ranking.

Both jobs that score exactly open them here, before anything is computed.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from jax_tda.artifacts import ranking
from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.core import mesh as meshes
from jax_tda.core.errors import InputError
from jax_tda.data import corpus as corpora
from jax_tda.encoding import estimate_moments
from jax_tda.encoding.blocks import DEFAULT_EXCLUDE
from jax_tda.encoding.directed import DirectionScorer
from jax_tda.encoding.second_moments import of_checkpoint
from jax_tda.encoding.token_shares import TokenScorer
from jax_tda.models import checkpoint_artifact
from jax_tda.rescoring import directions, estimate_factors

Scorer = TypeVar("Scorer", DirectionScorer, TokenScorer)


def direction(config: Any, inputs: dict[str, Reader]) -> Callable[[DirectionScorer], directions.Given]:
    """Opens what the direction is made with, before anything is computed; gives what makes it for a scorer.

    Args:
      config: of `rescore` or `shade`.
      inputs: gains what is opened.

    Raises:
      InputError: what the direction needs is missing, or of other parameters.
    """
    needs = directions.KINDS[config.direction].needs
    if needs == "factors" and not config.factors:
        raise InputError(
            f"the direction {config.direction} needs factors",
            got=f"{config.config_name}.factors = ''",
            expected="the output of estimate_factors for this checkpoint",
            remedy=f"run estimate_factors and give its path as {config.config_name}.factors",
        )
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    factors = moments = None
    if needs == "factors":
        factors = estimate_factors.read(config.factors, checkpoint)
        inputs["factors"] = open_artifact(config.factors, estimate_factors.KIND)
    if needs == "moments" and config.moments:
        moments = estimate_moments.read(config.moments, checkpoint)
        inputs["moments"] = open_artifact(config.moments, estimate_moments.KIND)
    elif needs == "moments":
        moments = of_checkpoint(checkpoint, None)[1]

    def given(scorer: DirectionScorer) -> directions.Given:
        matrices = {matrix.path: matrix for matrix in scorer.plan.matrices}
        if factors is not None and set(factors) != set(matrices):
            raise InputError(
                f"the factors {config.factors} are of other parameters",
                got=f"of one alone: {', '.join(sorted(set(factors) ^ set(matrices))[:3])}",
                expected=f"factors of the {len(matrices)} parameters that are scored",
                remedy=f"give {config.config_name}.exclude and estimate_factors.exclude the same patterns",
            )
        return directions.Given(matrices, config.power, config.damping, moments, factors)

    return given


def ranked(
    path: str, each: int, corpus: corpora.Corpus, queries: corpora.Corpus, job: str
) -> tuple[dict[int, np.ndarray], dict[str, Reader], dict[str, str]]:
    """Each query's candidates as rows of the corpus; the ranking that they are of, or the digest of a foreign file.

    Args:
      path: of the ranking.
      each: how many of each query's first.
      corpus: whose rows are meant.
      queries: that were ranked for.
      job: who speaks of it on the screen.

    Raises:
      InputError: several rankings, or one of other queries or another corpus.
    """
    rankings, readers, foreign = ranking.read_all(path)
    if len(rankings) != 1:
        raise InputError(
            f"candidates of one ranking are scored, and {path} holds several",
            got=", ".join(sorted(rankings)[:6]),
            expected="one ranking, RANKINGS/METHOD.jsonl",
            remedy="give the file of the ranking whose first passages are to be scored",
        )
    ((_, lines),) = rankings.items()
    row_of = {name: row for row, name in enumerate(corpus.ids)}
    listed = {line["query_id"]: [entry["id"] for entry in line["proponents"]] for line in lines}
    strange = [name for name in queries.ids if name not in listed]
    strange += [name for names in listed.values() for name in names[:each] if name not in row_of]
    if strange:
        raise InputError(
            f"the candidates {path} are not of these queries and this corpus",
            got=f"{len(strange)} ids that do not fit, such as {strange[0]!r}",
            expected="a ranking of this corpus for these queries",
            remedy="give the ranking that was made from them",
        )
    rows = [np.array([row_of[n] for n in listed[name][:each]], np.int64) for name in queries.ids]
    most = min(each, corpus.count)
    if short := sum(len(own) < most for own in rows):
        fewest = min(map(len, rows))
        print(f"{job}: {short:,} queries have fewer than {most:,} candidates, {fewest:,} at least: their ranking ends")
    made = {"candidates": next(iter(readers.values()))} if readers else {}
    return dict(enumerate(rows)), made, foreign


def scorer_of(config: Any, kind: type[Scorer]) -> Scorer:
    """The scorer of this kind for a config of `rescore` or `shade`."""
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    return kind(
        checkpoint.module,
        checkpoint.params(),
        exclude=config.exclude or DEFAULT_EXCLUDE,
        examples_at_once=config.examples_at_once,
        unroll_layers=config.unroll_layers,
        mesh=meshes.make_mesh(config.mesh),
    )


def direction_bytes(scorer: DirectionScorer) -> int:
    """What one direction takes on a device."""
    return 4 * sum(max(1, m.layers) * m.rows * m.columns for m in scorer.plan.matrices)


def at_once(config: Any, scorer: DirectionScorer) -> int:
    """How many queries' directions fit, on every device of this machine's memory a copy."""
    copies = len(scorer.mesh.local_devices) if scorer.mesh is not None else 1
    return max(1, int(config.memory * 2**30 / (direction_bytes(scorer) * copies)))
