"""TrackStar's influence of the passages about to be met on every probe, at one checkpoint of a run."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from jax_tda.attribution import curvature, similarity
from jax_tda.core import seeds
from jax_tda.encoding.encoder import Encoder
from jax_tda.encoding.second_moments import second_moments_from
from jax_tda.models.decoder import Decoder
from jax_tda.studies.acquisition.rows import Probes
from jax_tda.training.optimizers import OptimizerConfig
from jax_tda.training.step import TrainState


@dataclasses.dataclass(frozen=True)
class InfluenceConfig:
    """How influence is measured.

    Args:
      projected_size: p, the side of a projected gradient.
      sample: documents of the ordinary corpus that R of train is estimated from.
      query_weight: λ, the probes' share in R.
      damping: in units of each block's mean eigenvalue.
    """

    projected_size: int = 16
    sample: int = 256
    query_weight: float = 0.5
    damping: float = 0.1


class Influence:
    """Scores at any checkpoint of one seed.

    TrackStar: I = cos(R^(-1/2) g(passage), R^(-1/2) g(probe)) with g = P(∇/√V). Dot product: g(passage) · g(probe) over
    the number of the target's tokens, without R and unit norm, so that the length of both gradients counts.

    Args:
      model: the model.
      optimizer: its optimizer, for b2 and ε of V.
      probes: the queries; each is the sum over its target's tokens.
      documents: token ids of the ordinary corpus; a sample of them, cut to the longest probe, gives R of train.
      context: tokens that passages are padded to.
      config: how.
      seed: of projections and sample.
    """

    def __init__(
        self,
        model: Decoder,
        optimizer: OptimizerConfig,
        probes: Probes,
        documents: Sequence[np.ndarray],
        context: int,
        config: InfluenceConfig,
        seed: int,
    ):
        self._model, self._optimizer, self._config, self._seed = model, optimizer, config, seed
        self._context = context
        self._probes = {"tokens": probes.tokens, "loss_weights": probes.weights}
        drawn = seeds.generator(seed, "acquisition", "sample").permutation(len(documents))[: config.sample]
        # One length for probes and sample: each length costs a compilation at every checkpoint.
        self._sample = _padded([documents[i] for i in drawn], probes.tokens.shape[1])

    def scores(self, state: TrainState, passages: Sequence[np.ndarray]) -> np.ndarray:
        """float64 [2, Q, passages]: TrackStar's cosine, and the dot product.

        Args:
          state: the checkpoint.
          passages: token ids of each passage about to be met.
        """
        config = self._config
        moments = second_moments_from(state.opt_state, b2=self._optimizer.b2, epsilon=self._optimizer.epsilon)
        encoder = Encoder(self._model, state.params, moments, projected_size=config.projected_size, seed=self._seed)
        blocks = encoder.plan.blocks

        def rows(examples: dict[str, np.ndarray]) -> np.ndarray:
            found = encoder.encode(examples)
            count = len(examples["tokens"])
            return np.stack([np.asarray(found[block]).reshape(count, -1) for block in blocks], axis=1)

        queries, sample = rows(self._probes), rows(self._sample)
        train = rows(_padded(passages, self._context))
        mixed = curvature.mix(
            curvature.autocorrelation(sample), curvature.autocorrelation(queries), config.query_weight
        )
        root = curvature.inverse_root(mixed, config.damping, tuple(blocks))
        side = similarity.query_side(queries, root, unit_norm=True).reshape(len(queries), -1)
        norms = similarity.norms(similarity.whiten(jnp.asarray(train), jnp.asarray(root, jnp.float32)))
        cosine = similarity.scores(side, jnp.asarray(train), norms)
        dot = similarity.scores(
            jnp.asarray(queries).reshape(len(queries), -1), jnp.asarray(train), jnp.ones(len(train))
        )
        tokens = self._probes["loss_weights"].sum(axis=1, dtype=np.float64)[:, None]
        return np.stack([np.asarray(cosine, np.float64), np.asarray(dot, np.float64) / tokens])


def _padded(documents: Sequence[np.ndarray], length: int) -> dict[str, np.ndarray]:
    tokens = np.zeros((len(documents), length), np.int32)
    weights = np.zeros((len(documents), length), np.float32)
    for row, document in enumerate(documents):
        kept = document[:length]
        tokens[row, : len(kept)] = kept
        weights[row, 1 : len(kept)] = 1.0
    return {"tokens": tokens, "loss_weights": weights}
