"""check_road: refuses at the start of a road what a job far down it would refuse."""

import dataclasses
from collections import Counter

from jax_tda.artifacts.artifact import open_artifact
from jax_tda.attribution import curvature
from jax_tda.attribution.mix import MixCurvatureConfig
from jax_tda.core.config import input_path
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.quantities import Path
from jax_tda.data import sources
from jax_tda.data.tokenize import TokenizeConfig
from jax_tda.encoding.embed import tokenizer_of
from jax_tda.encoding.run import EncodeConfig
from jax_tda.evaluation.run import EvaluateConfig
from jax_tda.models.checkpoint_artifact import decoder_config, open_checkpoint
from jax_tda.models.decoder import DecoderConfig
from jax_tda.models.importers.sentence_folder import SentenceFolder


@dataclasses.dataclass(frozen=True)
@declared("check_road")
class CheckRoadConfig:
    """The road's beginning, and the settings of later jobs that decide how many queries it needs.

    Args:
      corpus: the corpus, as `tokenize` takes it.
      queries: the queries, as `tokenize` takes them.
      checkpoint: the model, when it is not trained on the way.
      initial: the model that is trained on, if it does not start anew.
      embedding: the folder of the sentence encoder, if one takes part.
    """

    corpus: Path = input_path(required=True)
    queries: Path = input_path(required=True)
    checkpoint: Path = input_path()
    initial: Path = input_path()
    embedding: Path = input_path()
    tokenize: TokenizeConfig = dataclasses.field(default_factory=TokenizeConfig)
    decoder: DecoderConfig = dataclasses.field(default_factory=DecoderConfig)
    encode: EncodeConfig = dataclasses.field(default_factory=EncodeConfig)
    mix_curvature: MixCurvatureConfig = dataclasses.field(default_factory=MixCurvatureConfig)
    evaluate: EvaluateConfig = dataclasses.field(default_factory=EvaluateConfig)


def plan(config: CheckRoadConfig, output: str) -> str:
    """What the road would go from and to."""
    return f"check_road: corpus {config.corpus or '-'}, queries {config.queries or '-'} → {output}"


def run(config: CheckRoadConfig, output: str) -> None:
    """Reads the queries, compares their number with what the rule for λ needs, and opens what the road is given."""
    if config.evaluate.over == "gained" and not config.initial:
        raise InputError(
            "evaluate.over = 'gained' is not possible on this road",
            got="no --continue_from",
            expected="a model that is trained on, so that answers before and after can be compared",
            remedy="give --continue_from, or set evaluate.over = 'answered_exactly'",
        )
    if config.embedding:
        tokenizer_of(SentenceFolder(config.embedding))
    given = config.checkpoint or config.initial
    own = config.encode.own_model.build
    if given and own:
        open_checkpoint(given, config.encode.own_model)  # Refused here, if at all.
    decoder = decoder_config(open_artifact(given, "checkpoint")) if given and not own else config.decoder
    text, rejected = config.tokenize, Counter[str]()
    found = sources.read(
        *(config.queries, text.seqio_module, text.seqio_split, "queries", text.on_bad_record, rejected), text.fields
    )
    # Two queries of one text have one gradient.
    count = len({(record.text, record.tokens) for record in found})
    sources.check_exists(config.corpus, text.seqio_split)
    if own:
        # Its blocks are known when it is encoded; the rule for λ is asked for again where it is applied.
        print(f"check_road: {count:,} different queries, a model of {own}; the road to {output} is open")
        return
    per_matrix = config.encode.blocks == "matrices"
    blocks = (6 + decoder.gated) * decoder.layers if per_matrix else 2 * min(8, decoder.layers)
    size, mix = config.encode.projected_size**2, config.mix_curvature
    component = mix.component or curvature.default_component(blocks * size, mix.component_fraction)
    curvature.check_queries(mix.query_weight, component, blocks, size, count)
    print(f"check_road: {count:,} different queries, {blocks} blocks; the road to {output} is open")
