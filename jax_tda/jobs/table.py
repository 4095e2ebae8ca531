"""Every name a config may speak of: the jobs, and the parts that a job's config is made of."""

import importlib
from collections.abc import Mapping

JOBS: Mapping[str, str] = {
    "check_road": "jax_tda.evaluation.check_road:CheckRoadConfig",
    "train_vocabulary": "jax_tda.data.train_vocabulary:TrainVocabularyConfig",
    "prepare_facts": "jax_tda.data.facts.write:PrepareFactsConfig",
    "prepare_probes": "jax_tda.data.probed_passages:PrepareProbesConfig",
    "tokenize": "jax_tda.data.tokenize:TokenizeConfig",
    "pretrain": "jax_tda.training.run:PretrainConfig",
    "import_checkpoint": "jax_tda.training.import_checkpoint:ImportCheckpointConfig",
    "estimate_second_moments": "jax_tda.encoding.estimate_moments:EstimateSecondMomentsConfig",
    "encode": "jax_tda.encoding.run:EncodeConfig",
    "embed": "jax_tda.encoding.embed:EmbedConfig",
    "answer": "jax_tda.evaluation.answers:AnswerConfig",
    "estimate_curvature": "jax_tda.attribution.estimate:EstimateCurvatureConfig",
    "mix_curvature": "jax_tda.attribution.mix:MixCurvatureConfig",
    "score": "jax_tda.attribution.run:ScoreConfig",
    "score_densely": "jax_tda.attribution.dense:ScoreDenselyConfig",
    "score_sweep": "jax_tda.attribution.sweep:ScoreSweepConfig",
    "score_corpus": "jax_tda.attribution.fused:ScoreCorpusConfig",
    "rank_baseline": "jax_tda.baselines.run:RankBaselineConfig",
    "evaluate": "jax_tda.evaluation.run:EvaluateConfig",
    "show": "jax_tda.viewer.run:ShowConfig",
    "plan": "jax_tda.planning.run:PlanConfig",
    "study_density": "jax_tda.studies.density.settings:DensityConfig",
    "study_scaling": "jax_tda.studies.scaling.settings:ScalingConfig",
    "study_acquisition": "jax_tda.studies.acquisition.config:AcquisitionConfig",
    "study_unlearning": "jax_tda.studies.unlearning.settings:StudyUnlearningConfig",
}

PARTS: Mapping[str, str] = {
    "mesh": "jax_tda.core.mesh:MeshConfig",
    "decoder": "jax_tda.models.decoder_config:DecoderConfig",
    "optimizer": "jax_tda.training.optimizers:OptimizerConfig",
    "store": "jax_tda.artifacts.formats:StoreConfig",
    "bm25": "jax_tda.baselines.lexical:LexicalConfig",
    "tail_patch": "jax_tda.evaluation.tail_patch:TailPatchConfig",
    "page": "jax_tda.viewer.settings:PageConfig",
    "bootstrap": "jax_tda.evaluation.bootstrap:BootstrapConfig",
    "unlearning": "jax_tda.studies.unlearning.loop:UnlearningConfig",
}

# Jobs that take each core of a CPU for a device; what they compute on is asked before they begin.
DEVICE_PER_CORE = frozenset({"estimate_second_moments", "encode", "embed", "score_corpus"})


def load(target: str) -> type:
    """The class that "module:Class" names; imported only now, so that a job loads what its config speaks of."""
    module, name = target.split(":")
    loaded: type = getattr(importlib.import_module(module), name)
    return loaded
