"""Every name a config may speak of: the jobs, which are also the verbs of `jax-tda`, and the parts of their configs."""

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple


class Job(NamedTuple):
    """A row of the table.

    Args:
      config: "module:Class" of its settings.
      sentence: what it does.
      run: the module whose `run` does the work and whose `plan` says what would be done; empty for the config's own.
      device_per_core: whether it takes each core of a CPU for a device, which must be said before JAX looks for them.
    """

    config: str
    sentence: str
    run: str = ""
    device_per_core: bool = False


TABLE: Mapping[str, Job] = {
    "check_road": Job(
        "jax_tda.evaluation.check_road:CheckRoadConfig",
        "Refuses at the start of a pipeline what a later job would refuse.",
    ),
    "train_vocabulary": Job(
        "jax_tda.data.train_vocabulary:TrainVocabularyConfig",
        "Makes the vocabulary: SentencePiece trained on a corpus, bytes, or the user's own model.",
    ),
    "prepare_facts": Job(
        "jax_tda.data.facts.write:PrepareFactsConfig",
        "Writes the demo's corpus and queries as JSON lines.",
    ),
    "prepare_probes": Job(
        "jax_tda.data.probed_passages:PrepareProbesConfig",
        "Turns passages with probes into a corpus and queries, among distractors.",
    ),
    "tokenize": Job("jax_tda.data.tokenize:TokenizeConfig", "Turns text into a tokenized corpus with stable ids."),
    "pretrain": Job(
        "jax_tda.training.run:PretrainConfig",
        "Trains a decoder on a tokenized corpus and keeps its optimizer state.",
        device_per_core=True,
    ),
    "import_checkpoint": Job(
        "jax_tda.training.import_checkpoint:ImportCheckpointConfig",
        "Makes a checkpoint of a model that somebody else trained: a Hugging Face folder or a GGUF file.",
    ),
    "estimate_second_moments": Job(
        "jax_tda.encoding.estimate_moments:EstimateSecondMomentsConfig",
        "Makes second moments for a checkpoint that has none: from batches, an optax state or an optimizer.pt.",
        device_per_core=True,
    ),
    "encode": Job(
        "jax_tda.encoding.run:EncodeConfig",
        "Encodes every example: per-example gradient, over √V, projected; stored before R.",
        device_per_core=True,
    ),
    "embed": Job(
        "jax_tda.encoding.embed:EmbedConfig",
        "Embeds every example's text by a sentence encoder, as encodings that are scored like any others.",
        device_per_core=True,
    ),
    "answer": Job("jax_tda.evaluation.answers:AnswerConfig", "Finds which queries the model answers exactly."),
    "estimate_curvature": Job(
        "jax_tda.attribution.estimate:EstimateCurvatureConfig",
        "Estimates R of one stream from its encodings.",
    ),
    "mix_curvature": Job(
        "jax_tda.attribution.mix:MixCurvatureConfig",
        "Mixes R for a task, takes its inverse root and the corpus's norms under it.",
    ),
    "score": Job("jax_tda.attribution.run:ScoreConfig", "Ranks the corpus for every query by its encodings."),
    "metagradient": Job(
        "jax_tda.retraining.metagradient:MetagradientConfig",
        "Ranks documents by the derivative of each query's log-probability by their weight, through training.",
    ),
    "estimate_factors": Job(
        "jax_tda.rescoring.estimate_factors:EstimateFactorsConfig",
        "Makes K-FAC's factors and EK-FAC's eigenvalues of a checkpoint.",
    ),
    "rescore": Job(
        "jax_tda.rescoring.run:RescoreConfig",
        "Scores candidates, or the whole corpus, exactly for every query, without projection or store.",
        device_per_core=True,
    ),
    "shade": Job(
        "jax_tda.rescoring.shade:ShadeConfig",
        "Tells the exact scores of a ranking's first passages apart, token by token of passage and target.",
        device_per_core=True,
    ),
    "rank_scores": Job("jax_tda.attribution.rank_scores:RankScoresConfig", "Ranks the corpus by the scores of pairs."),
    "score_densely": Job(
        "jax_tda.attribution.dense:ScoreDenselyConfig",
        "Scores every pair of passage and query by their encodings.",
    ),
    "score_sweep": Job(
        "jax_tda.attribution.sweep:ScoreSweepConfig",
        "Ranks the corpus under many settings in one pass over its encodings.",
    ),
    "score_corpus": Job(
        "jax_tda.attribution.fused:ScoreCorpusConfig",
        "Ranks a corpus while it is encoded, and stores no encoding.",
        device_per_core=True,
    ),
    "rank_baseline": Job(
        "jax_tda.baselines.run:RankBaselineConfig",
        "Ranks the corpus without gradients: BM25, gold, random.",
    ),
    "bank": Job(
        "jax_tda.retraining.bank:BankConfig",
        "Trains the model again and again, each time without some documents, and keeps what each says of every query.",
        device_per_core=True,
    ),
    "evaluate": Job("jax_tda.evaluation.run:EvaluateConfig", "Judges rankings, whoever made them."),
    "show": Job("jax_tda.viewer.run:ShowConfig", "Makes the page."),
    "show_results": Job(
        "jax_tda.viewer.show_results:ShowResultsConfig", "Makes a page of results files, whoever made them."
    ),
    "export_results": Job(
        "jax_tda.viewer.export_results:ExportResultsConfig",
        "Writes rankings with their texts, in our own form or that of the paper's viewer.",
    ),
    "plan": Job(
        "jax_tda.planning.run:PlanConfig",
        "Says what a config would need on TPUs that are not there: memory by the compiler, FLOPs, bytes, hours.",
    ),
    "study_density": Job(
        "jax_tda.studies.density.settings:DensityConfig",
        "Asks whether performance follows the density of training data, in text and in gradients.",
        run="jax_tda.studies.density.run",
    ),
    "study_scaling": Job(
        "jax_tda.studies.scaling.settings:ScalingConfig",
        "Asks how influence and attribution change with a model's size and the length of its training.",
        run="jax_tda.studies.scaling.run",
    ),
    "study_acquisition": Job(
        "jax_tda.studies.acquisition.config:AcquisitionConfig",
        "Asks how a model acquires and forgets injected passages, and whether influence foretells it.",
        run="jax_tda.studies.acquisition.run",
    ),
    "study_unlearning": Job(
        "jax_tda.studies.unlearning.settings:StudyUnlearningConfig",
        "Asks what each corpus adds to each ability: by unlearning, by training without it, by summed influence.",
        run="jax_tda.studies.unlearning.run",
    ),
}

JOBS: Mapping[str, str] = {name: job.config for name, job in TABLE.items()}

# What a user may type instead.
ALIASES: Mapping[str, str] = {"import": "import_checkpoint"}

PARTS: Mapping[str, str] = {
    "mesh": "jax_tda.core.mesh:MeshConfig",
    "decoder": "jax_tda.models.decoder_config:DecoderConfig",
    "own_model": "jax_tda.models.own_model:OwnModelConfig",
    "optimizer": "jax_tda.training.optimizers:OptimizerConfig",
    "store": "jax_tda.artifacts.formats:StoreConfig",
    "method": "jax_tda.artifacts.method_words:MethodWords",
    "bm25": "jax_tda.baselines.lexical:LexicalConfig",
    "tail_patch": "jax_tda.evaluation.tail_patch:TailPatchConfig",
    "page": "jax_tda.viewer.settings:PageConfig",
    "bootstrap": "jax_tda.evaluation.bootstrap:BootstrapConfig",
    "unlearning": "jax_tda.studies.unlearning.loop:UnlearningConfig",
}


def load(target: str) -> type:
    """The class that "module:Class" names; imported only now, so that a job loads what its config speaks of."""
    module, name = target.split(":")
    loaded: type = getattr(importlib.import_module(module), name)
    return loaded


def work_of(job: str) -> ModuleType:
    """The module with the `run` and the `plan` of a job."""
    row = TABLE[job]
    return importlib.import_module(row.run or row.config.partition(":")[0])
