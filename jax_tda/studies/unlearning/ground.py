"""What a seed's experiments stand on: its texts, its queries and its original model, made by the ordinary rooms."""

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from etils import epath

from jax_tda.core import files, seeds
from jax_tda.data import records, tokenize, train_vocabulary
from jax_tda.data.corpus import Corpus, open_corpus
from jax_tda.models import checkpoint_artifact
from jax_tda.studies.unlearning import randomise, sources
from jax_tda.studies.unlearning.loop import Sets, Texts, check
from jax_tda.studies.unlearning.settings import StudyUnlearningConfig
from jax_tda.training import run as training

# Most words are a piece; a name, which has at most nine letters, may be as many.
_TOKENS_PER_WORD = 9


@dataclasses.dataclass(frozen=True)
class Corpora:
    """The texts of one seed.

    Attributes:
      place: the folder that holds everything.
      seed: the seed.
      corpus: the training documents.
      pool: further documents of the same sources, which no model was trained on.
      queries: the held-out queries.
    """

    place: epath.Path
    seed: int
    corpus: Corpus
    pool: Corpus
    queries: Corpus

    def removed(self, names: tuple[str, ...]) -> np.ndarray:
        """bool [N]: the training documents of these sources; of none, a random set of the size of one source.

        The random set takes the same share of every source, as near as its size allows.
        """
        own = _sources(self.corpus)
        if names:
            return np.isin(own, names)
        generator = seeds.generator(self.seed, "unlearning", "control")
        chosen = np.zeros(len(own), bool)
        kinds = sorted(set(own))
        for place, kind in enumerate(kinds):
            rows = np.flatnonzero(own == kind)
            share = (len(own) // len(kinds) + place) // len(kinds)
            chosen[generator.choice(rows, share, replace=False)] = True
        return chosen

    def sets(self, names: tuple[str, ...], config: StudyUnlearningConfig) -> Sets:
        """What unlearning these sources reads; the random set for no names."""
        generator = seeds.generator(self.seed, "unlearning", "sets", *names)
        forgotten = np.flatnonzero(self.removed(names))
        other = generator.permutation(np.flatnonzero(~np.isin(_sources(self.pool), names)))
        watched = config.unlearning.validation
        sample = generator.permutation(forgotten)[: config.unlearning.evaluated]
        forget, pool = texts_of(self.corpus, forgotten), texts_of(self.pool, other)
        # The same few sentences can make up two documents.
        fresh = self._unlike(pool, forget)
        pool = pool.rows(fresh)
        return Sets(
            forget,
            self._randomised(sample, config.unlearning.randomisation, generator),
            pool.rows(slice(watched, None)),
            pool.rows(slice(watched)),
            max(1, len(names)),
        )

    def _unlike(self, pool: Texts, forget: Texts) -> np.ndarray:
        """Row numbers of the pool's passages, each once, without those that the forget set has too."""
        seen, found = set(forget.keys()), []
        for number, key in enumerate(pool.keys()):
            if key not in seen:
                seen.add(key)
                found.append(number)
        return np.array(found, int)

    def _randomised(self, rows: np.ndarray, rule: str, generator: np.random.Generator) -> Texts:
        texts = texts_of(self.corpus, rows)
        tokens = texts.tokens.copy()
        for place, row in enumerate(rows):
            text = self.corpus.records[row]["text"]
            ids, offsets = self.corpus.vocabulary.encode_with_offsets(text)
            # The beginning of every passage stays where it is, and so does its end.
            tokens[place, 1 : 1 + len(ids)] = randomise.randomised(
                randomise.words_of(ids, offsets, text), rule, generator
            )
        return Texts(tokens, texts.loss_weights)


@dataclasses.dataclass(frozen=True)
class Ground(Corpora):
    """The texts and the original model of one seed.

    Attributes:
      checkpoint: the original model.
      training: how it was trained.
    """

    checkpoint: checkpoint_artifact.Checkpoint
    training: training.PretrainConfig


def _sources(corpus: Corpus) -> np.ndarray:
    return np.array([record["fields"]["source"] for record in corpus.records])


def sources_of(corpus: Corpus) -> list[str]:
    """The source of every document or query."""
    return [str(name) for name in _sources(corpus)]


def texts_of(corpus: Corpus, rows: np.ndarray) -> Texts:
    """Some of a corpus as arrays, all of the corpus's greatest length."""
    found = corpus.examples(np.asarray(rows, int), corpus.longest, len(rows))
    return Texts(found["tokens"], found["loss_weights"])


def lay(config: StudyUnlearningConfig, seed: int, place: epath.Path) -> Ground:
    """Makes a seed's texts and trains its original model; what an earlier run finished is taken as it is.

    Raises:
      InputError: the texts do not suffice for every removal; before the model is trained.
    """
    made = sources.make(seed, config.places, config.animals)
    generator = seeds.generator(seed, "unlearning", "shuffle")
    drawn = {
        part: [row for s in made.values() for row in sources.documents(s, count, config.words, seed, part)]
        for part, count in (("corpus", config.documents), ("pool", config.pool_documents))
    }
    rows = {
        "corpus": [drawn["corpus"][i] for i in generator.permutation(len(drawn["corpus"]))],
        "pool": drawn["pool"],
        "queries": [row for s in made.values() for row in sources.queries(s, config.queries, seed)],
    }
    paths = {name: _write(place / f"{name}.jsonl", lines) for name, lines in rows.items()}
    vocabulary = str(place / "vocabulary")
    train_vocabulary.run(
        train_vocabulary.TrainVocabularyConfig(source=paths["corpus"], size=config.vocabulary), vocabulary
    )
    for name, source in paths.items():
        kind: records.Kind = "queries" if name == "queries" else "passages"
        tokenize.run(
            tokenize.TokenizeConfig(
                source=source,
                kind=kind,
                vocabulary=vocabulary,
                context=config.words * _TOKENS_PER_WORD,
                on_long="refuse",
            ),
            str(place / name),
        )
    corpora = Corpora(place, seed, *(open_corpus(str(place / name)) for name in ("corpus", "pool", "queries")))
    for names in config.removals.values():
        check(corpora.sets(names, config), config.unlearning)
    pretrain = training.PretrainConfig(
        corpus=str(place / "corpus"),
        decoder=config.decoder,
        optimizer=config.optimizer,
        steps=config.steps,
        tokens_per_batch=config.tokens_per_batch,
        buckets=1,
        seed=seed,
        save_every=0,
    )
    training.run(pretrain, str(place / "checkpoint"))
    checkpoint = checkpoint_artifact.open_checkpoint(str(place / "checkpoint"))
    return Ground(place, seed, corpora.corpus, corpora.pool, corpora.queries, checkpoint, pretrain)


def _write(path: epath.Path, rows: Iterable[dict[str, Any]]) -> str:
    files.write(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return str(path)
