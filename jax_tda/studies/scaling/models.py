"""Every size of model at every checkpoint, with rankings by TrackStar and by BM25, made by the ordinary rooms."""

import dataclasses
import json
from collections.abc import Iterator
from typing import NamedTuple

from etils import epath

from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.baselines import run as baseline
from jax_tda.core import files, seeds
from jax_tda.data import tokenize, train_vocabulary
from jax_tda.data.facts import world_facts
from jax_tda.encoding import run as encode
from jax_tda.evaluation import answers
from jax_tda.studies.scaling.settings import ScalingConfig
from jax_tda.training import run as pretrain


class Snapshot(NamedTuple):
    """One size of model after so many steps, and where what was made of it lies."""

    layers: int
    width: int
    steps: int
    place: str

    @property
    def unit(self) -> str:
        """Its name within a seed."""
        return f"layers_{self.layers}_width_{self.width}_steps_{self.steps}"


def snapshots(config: ScalingConfig, place: epath.Path) -> list[Snapshot]:
    """All of a seed, each size from its first checkpoint to its last."""
    sizes = zip(config.layers, config.widths, strict=True)
    made = (Snapshot(layers, width, steps, "") for layers, width in sizes for steps in config.checkpoints)
    return [one._replace(place=str(place / one.unit)) for one in made]


def write_texts(config: ScalingConfig, seed: int, place: epath.Path) -> None:
    """Makes corpus and queries: some facts of the embedded corpus with all their passages, and prose."""
    built = world_facts.build(seed, config.prose)
    names = [row["fact_id"] for row in built.queries]
    order = seeds.generator(seed, "scaling", "facts").permutation(len(names))
    kept = {names[i] for i in (order[: config.facts] if config.facts else order)}
    passages = [row for row in built.passages if row.get("fact_id", "") in kept or "fact_id" not in row]
    queries = [row for row in built.queries if row["fact_id"] in kept]
    for name, rows in (("passages", passages), ("questions", queries)):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files.write(place / f"{name}.jsonl", lines.encode())
    words = train_vocabulary.TrainVocabularyConfig(str(place / "passages.jsonl"), size=config.vocabulary_size)
    train_vocabulary.run(words, str(place / "vocabulary"))
    made = tokenize.TokenizeConfig(vocabulary=str(place / "vocabulary"), context=config.context)
    asked = dataclasses.replace(made, source=str(place / "questions.jsonl"), kind="queries")
    tokenize.run(asked, str(place / "queries"))
    read = dataclasses.replace(made, source=str(place / "passages.jsonl"), queries=str(place / "queries"))
    tokenize.run(read, str(place / "corpus"))


def make(config: ScalingConfig, seed: int, place: epath.Path, before: Snapshot | None, now: Snapshot) -> None:
    """Trains one model on from the snapshot before it, and ranks the corpus for every query."""
    corpus, queries = str(place / "corpus"), str(place / "queries")
    trained = before.steps if before else 0
    training = pretrain.PretrainConfig(
        corpus=corpus,
        initial=f"{before.place}/checkpoint" if before else "",
        decoder=config.model(now.layers, now.width),
        optimizer=config.optimizer,
        steps=now.steps - trained,
        tokens_per_batch=config.tokens_per_batch,
        buckets=config.buckets,
        # Each stretch has an order of examples of its own.
        seed=seed + 1000 * trained,
    )
    checkpoint = f"{now.place}/checkpoint"
    pretrain.run(training, checkpoint)
    answers.run(answers.AnswerConfig(queries=queries, checkpoint=checkpoint), f"{now.place}/answers")
    for stream, examples in (("train", corpus), ("query", queries)):
        encoding = encode.EncodeConfig(
            examples=examples,
            checkpoint=checkpoint,
            projected_size=config.projected_size,
            seed=seed,
            buckets=config.buckets,
            tokens_per_batch=2048,
        )
        encode.run(encoding, f"{now.place}/encodings/{stream}")
        sample = estimate.EstimateCurvatureConfig(encodings=f"{now.place}/encodings/{stream}", seed=seed)
        estimate.run(sample, f"{now.place}/curvature/{stream}")
    mixing = mix.MixCurvatureConfig(
        train=f"{now.place}/curvature/train",
        query=f"{now.place}/curvature/query",
        encodings=f"{now.place}/encodings/train",
        query_weight=config.query_weight,
    )
    mix.run(mixing, f"{now.place}/correction")
    given = f"{now.place}/answers"
    scoring = score.ScoreConfig(
        train=f"{now.place}/encodings/train",
        query=f"{now.place}/encodings/query",
        correction=f"{now.place}/correction",
        answers=given,
    )
    score.run(scoring, f"{now.place}/rankings")
    words = baseline.RankBaselineConfig(corpus=corpus, queries=queries, answers=given)
    baseline.run(words, f"{now.place}/rankings")


def in_order(all_of_them: list[Snapshot]) -> Iterator[tuple[Snapshot | None, Snapshot]]:
    """Each snapshot with the one that its training goes on from."""
    before: Snapshot | None = None
    for now in all_of_them:
        same = before is not None and (before.layers, before.width) == (now.layers, now.width)
        yield (before if same else None), now
        before = now
