"""TrackStar's influence of the passages about to be met on every query, at one checkpoint of a run."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jax_tda.attribution import curvature, similarity
from jax_tda.core import seeds
from jax_tda.encoding.encoder import Encoder
from jax_tda.encoding.second_moments import second_moments_from
from jax_tda.models.decoder import Decoder
from jax_tda.studies.acquisition.rows import Queries
from jax_tda.training.optimizers import OptimizerConfig
from jax_tda.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class InfluenceConfig:
    """How influence is measured.

    Args:
      projected_size: p, the side of a projected gradient.
      sample: documents of the ordinary corpus that R of train is estimated from.
      query_weight: λ, the queries' share in R.
      damping: in units of each block's mean eigenvalue.
    """

    projected_size: int = 16
    sample: int = 256
    query_weight: float = 0.5
    damping: float = 0.1


class Influence:
    """Scores at any checkpoint of one seed.

    TrackStar: I = cos(R^(-1/2) g(passage), R^(-1/2) g(query)) with g = P(∇/√V). Dot product: g(passage) · g(query) over
    the number of the target's tokens, without R and unit norm, so that the length of both gradients counts.

    Args:
      model: the model.
      optimizer: its optimizer, for b2 and ε of V.
      queries: the queries; each is the sum over its target's tokens.
      documents: token ids of the ordinary corpus; a sample of them, cut to the longest query, gives R of train.
      context: tokens that passages are padded to.
      config: how.
      seed: of projections and sample.
    """

    def __init__(
        self,
        model: Decoder,
        optimizer: OptimizerConfig,
        queries: Queries,
        documents: Sequence[np.ndarray],
        context: int,
        config: InfluenceConfig,
        seed: int,
    ):
        self._model, self._optimizer, self._config, self._seed = model, optimizer, config, seed
        self._unchecked = 3
        self._context, self._target = context, queries.weights.sum(axis=1, dtype=np.float64)
        drawn = seeds.generator(seed, "acquisition", "sample").permutation(len(documents))[: config.sample]
        sample = _padded([documents[i] for i in drawn], len(drawn), queries.tokens.shape[1])
        # Together, because each shape costs a compilation at every checkpoint.
        self._short = {
            "tokens": np.concatenate([queries.tokens, sample["tokens"]]),
            "loss_weights": np.concatenate([queries.weights, sample["loss_weights"]]),
        }

    def scores(self, state: TrainState, passages: Sequence[np.ndarray], most: int) -> np.ndarray:
        """float64 [2, Q, passages]: TrackStar's cosine, and the dot product.

        Args:
          state: the checkpoint.
          passages: token ids of each passage about to be met.
          most: what passages are filled up to with empty ones, so that every round runs the same program.
        """
        config = self._config
        own = self._optimizer
        moments = second_moments_from(state.opt_state, optimizer=own.name, b2=own.b2, epsilon=own.epsilon)
        # Its first checkpoint speaks for the model: each would compile the plain gradient anew.
        checked, self._unchecked = self._unchecked, 0
        encoder = Encoder(
            self._model,
            state.params,
            moments,
            projected_size=config.projected_size,
            seed=self._seed,
            self_check=checked,
        )
        blocks = encoder.plan.blocks

        def rows(examples: dict[str, np.ndarray]) -> np.ndarray:
            found = encoder.encode(examples)
            count = len(examples["tokens"])
            return np.stack([np.asarray(found[block]).reshape(count, -1) for block in blocks], axis=1)

        queries, sample = np.split(rows(self._short), [len(self._target)])
        train = jnp.asarray(rows(_padded(passages, most, self._context))[: len(passages)])
        of_train, of_queries = curvature.autocorrelation(sample), curvature.autocorrelation(queries)
        mixed = curvature.mix(of_train, of_queries, config.query_weight)
        root = curvature.inverse_root(mixed, config.damping, tuple(blocks))
        norms = similarity.norms(similarity.whiten(train, jnp.asarray(root, jnp.float32)))
        side = similarity.query_side(queries, root, unit_norm=True).reshape(len(queries), -1)
        cosine = np.asarray(similarity.scores(side, train, norms), np.float64)
        plain = similarity.query_side(queries, None, unit_norm=False).reshape(len(queries), -1)
        dot = np.asarray(similarity.scores(plain, train, jnp.ones(len(passages))), np.float64)
        return np.stack([cosine, dot / self._target[:, None]])


def _padded(documents: Sequence[np.ndarray], rows: int, length: int) -> dict[str, np.ndarray]:
    tokens, weights = np.zeros((rows, length), np.int32), np.zeros((rows, length), np.float32)
    for row, document in enumerate(documents):
        kept = document[:length]
        tokens[row, : len(kept)] = kept
        weights[row, 1 : len(kept)] = 1.0
    return {"tokens": tokens, "loss_weights": weights}
