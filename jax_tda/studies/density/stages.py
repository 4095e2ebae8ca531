"""One seed's artifacts, made by the ordinary rooms: corpus, model, answers, encodings, and the model tuned further."""

import dataclasses
import json
from typing import Any

from etils import epath

from jax_tda.artifacts.artifact import Reader, open_artifact
from jax_tda.attribution import estimate, mix
from jax_tda.attribution import run as score
from jax_tda.core import files
from jax_tda.core.progress import Progress
from jax_tda.data import tokenize, train_vocabulary
from jax_tda.encoding import embed
from jax_tda.encoding import run as encode
from jax_tda.evaluation import answers
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.world import World
from jax_tda.training import run as pretrain

_STAGES = 15


class Stages:
    """The artifacts of a seed below one folder; each stage is made once, and resumes by itself.

    Args:
      config: the study's.
      seed: the seed.
      world: its texts.
      place: the folder.
    """

    def __init__(self, config: DensityConfig, seed: int, world: World, place: epath.Path):
        self._config, self._seed, self._world, self._place = config, seed, world, place

    def path(self, stage: str) -> str:
        """Where a stage's artifact lies."""
        return str(self._place / stage)

    def make(self) -> None:
        """Makes every stage."""
        config, seed, path = self._config, self._seed, self.path
        progress = Progress(f"seed {seed}", _STAGES + 3 * bool(config.sentence_encoder), "stages")

        def done(_: Reader) -> None:
            progress.advance()

        texts = {
            name: self._write(name, rows)
            for name, rows in (
                ("passages", self._world.passages),
                ("questions", self._world.queries),
                ("tuning_texts", self._world.tuning),
            )
        }
        words = train_vocabulary.TrainVocabularyConfig(texts["passages"], size=config.vocabulary_size)
        done(train_vocabulary.run(words, path("vocabulary")))
        made = tokenize.TokenizeConfig(vocabulary=path("vocabulary"), context=config.context)
        ask = dataclasses.replace(made, source=texts["questions"], kind="queries")
        done(tokenize.run(ask, path("queries")))
        for name, source in (("corpus", "passages"), ("tuning", "tuning_texts")):
            read = dataclasses.replace(made, source=texts[source], queries=path("queries"))
            done(tokenize.run(read, path(name)))
        training = pretrain.PretrainConfig(
            corpus=path("corpus"),
            decoder=config.decoder,
            optimizer=config.optimizer,
            steps=config.steps,
            tokens_per_batch=config.tokens_per_batch,
            buckets=config.buckets,
            seed=seed,
        )
        done(pretrain.run(training, path("checkpoint")))
        done(self._answer("checkpoint", "answers"))
        for name in ("corpus", "queries", "tuning"):
            done(self._encode(name))
            if config.sentence_encoder:
                embedding = embed.EmbedConfig(examples=path(name), model=config.sentence_encoder)
                done(embed.run(embedding, path(f"embeddings_{name}")))
        for name in ("corpus", "queries"):
            sample = estimate.EstimateCurvatureConfig(encodings=path(f"encodings_{name}"), seed=seed)
            done(estimate.run(sample, path(f"curvature_{name}")))
        mixing = mix.MixCurvatureConfig(
            train=path("curvature_corpus"),
            query=path("curvature_queries"),
            encodings=path("encodings_corpus"),
            query_weight=config.query_weight,
        )
        done(mix.run(mixing, path("correction")))
        scoring = score.ScoreConfig(
            train=path("encodings_corpus"),
            query=path("encodings_queries"),
            correction=path("correction"),
            answers=path("answers"),
        )
        done(score.run(scoring, path("rankings")))
        further = dataclasses.replace(
            training,
            corpus=path("tuning"),
            initial=path("checkpoint"),
            optimizer=dataclasses.replace(
                config.optimizer, peak_rate=config.tuning_rate, warmup_steps=max(1, config.tuning_steps // 10)
            ),
            steps=config.tuning_steps,
        )
        done(pretrain.run(further, path("tuned")))
        done(self._answer("tuned", "answers_tuned"))

    def answers(self, stage: str) -> list[dict[str, Any]]:
        """What a model answered, a line per query."""
        return list(open_artifact(self.path(stage), answers.KIND).read_lines("answers.jsonl"))

    def _write(self, name: str, rows: list[dict[str, Any]]) -> str:
        file = self._place / f"{name}.jsonl"
        files.write(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
        return str(file)

    def _answer(self, model: str, output: str) -> Reader:
        asked = answers.AnswerConfig(queries=self.path("queries"), checkpoint=self.path(model))
        return answers.run(asked, self.path(output))

    def _encode(self, name: str) -> Reader:
        encoding = encode.EncodeConfig(
            examples=self.path(name),
            checkpoint=self.path("checkpoint"),
            projected_size=self._config.projected_size,
            seed=self._seed,
            tokens_per_batch=2048,
            buckets=self._config.buckets,
        )
        return encode.run(encoding, self.path(f"encodings_{name}"))
