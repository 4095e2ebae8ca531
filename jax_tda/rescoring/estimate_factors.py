"""estimate_factors: K-FAC's factors and EK-FAC's eigenvalues of a checkpoint, streamed over a sample of the corpus."""

import dataclasses
import io
from collections.abc import Callable, Mapping

import jax
import numpy as np

from jax_tda.artifacts.artifact import Reader, Writer, begin, open_artifact
from jax_tda.artifacts.shares import Shares
from jax_tda.core import processes, seeds
from jax_tda.core.config import input_path, machine, settings
from jax_tda.core.declared import declared
from jax_tda.core.errors import InputError
from jax_tda.core.progress import Progress
from jax_tda.core.quantities import Buckets, ExamplesOrAll, Path, Patterns, Seed, TokensAtOnce
from jax_tda.data import corpus as corpora
from jax_tda.data.batches import bucket_lengths, sweep
from jax_tda.encoding.blocks import DEFAULT_EXCLUDE
from jax_tda.encoding.kronecker import FactorProgram, Labels, eigenvectors
from jax_tda.models import checkpoint_artifact
from jax_tda.models.own_model import OwnModelConfig, code_of
from jax_tda.rescoring.directions import Factors

KIND = "factors"
_PARTS = tuple(field.name for field in dataclasses.fields(Factors))


@dataclasses.dataclass(frozen=True)
@declared("estimate_factors")
class EstimateFactorsConfig:
    """What the factors are of.

    Args:
      checkpoint: the model.
      examples: the tokenized corpus.
      labels: `model` draws each next token from the model (the Fisher matrix), `data` takes it as it stands (the
        empirical one).
      sample_size: examples drawn without replacement; 0 or more than there are takes all.
      exclude: patterns of parameters that are left out; empty for the default of `encode`.
      seed: of the draw and of the labels.
      buckets: how many padded lengths; each costs two compilations.
      tokens_per_batch: padded tokens at once.
      own_model: the user's own code that makes the model, where it is no decoder.
    """

    checkpoint: Path = input_path(required=True)
    examples: Path = input_path(required=True)
    labels: Labels = "model"
    sample_size: ExamplesOrAll = 4096
    exclude: Patterns = ()
    seed: Seed = 0
    buckets: Buckets = 1
    tokens_per_batch: TokensAtOnce = 1024
    own_model: OwnModelConfig = machine(OwnModelConfig())


def plan(config: EstimateFactorsConfig, output: str) -> str:
    """What the job would do."""
    said = f"estimate_factors: of {config.checkpoint} over {config.examples}, labels of the {config.labels} → {output}"
    if config.checkpoint:
        program = _program(config, checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)).program
        numbers = sum(max(1, m.layers) * (m.rows**2 + m.columns**2 + m.rows * m.columns) for m in program.plan.matrices)
        said += f"\n  {len(program.plan.matrices)} parameters, {numbers * 8 / 2**20:,.1f} MiB of factors in memory"
    return said


def run(config: EstimateFactorsConfig, output: str) -> Reader:
    """Writes the factors artifact: two passes over the sample, each gone on with after a kill."""
    checkpoint = checkpoint_artifact.open_checkpoint(config.checkpoint, config.own_model)
    examples = corpora.open_corpus(config.examples)
    checkpoint_artifact.check_fits(checkpoint.reader, examples.reader)
    inputs = {"checkpoint": checkpoint.reader, "examples": examples.reader}
    writer = begin(output, KIND, settings(config) | code_of(config.own_model), inputs)
    if isinstance(writer, Reader):
        return writer
    program = _program(config, checkpoint)
    batches, sampled = _batches(config, examples)
    root = seeds.named(config.seed, "factors", "labels")

    def batch(step: int) -> tuple[dict[str, np.ndarray], jax.Array]:
        rows, length, size = batches[step]
        # A row's labels depend on its own number alone; places without a row have weight 0.
        numbers = np.concatenate([rows, np.full(size - len(rows), examples.count)])
        return examples.examples(rows, length, size), jax.vmap(lambda row: jax.random.fold_in(root, row))(numbers)

    def sums(step: int) -> dict[str, np.ndarray]:
        found = program.factors(*batch(step))
        return {f"{path}|{part}": getattr(own, part) for path, own in found.items() for part in own._fields}

    paths = [matrix.path for matrix in program.program.plan.matrices]
    whole = _summed(writer, "factors_", len(batches), sums)
    if not all(whole[f"{path}|positions"].all() for path in paths):
        raise InputError(
            f"no example of {config.examples} has a gradient",
            got=f"{sampled} examples without a loss",
            expected="tokens with a loss weight",
            remedy="check the tokenized corpus",
        )
    found = dict[str, Factors]()
    for path in paths:
        count = whole[f"{path}|positions"][:, None, None]
        inner, outer = (eigenvectors(whole[f"{path}|{side}"] / count) for side in ("factor_in", "factor_out"))
        # Of examples, as the measured values are: the positions of an example are taken as independent.
        found[path] = Factors(inner[1], inner[0] * count[:, 0] / sampled, outer[1], outer[0], np.zeros(0))
    bases = {path: tuple(np.asarray(b, np.float32) for b in (f.basis_in, f.basis_out)) for path, f in found.items()}
    measured = _summed(writer, "squares_", len(batches), lambda step: program.squares(bases, *batch(step)))
    for number, path in enumerate(paths):
        own = dataclasses.replace(found[path], measured=measured[path] / sampled)
        for part in _PARTS if processes.index() == 0 else ():
            data = io.BytesIO()
            np.save(data, getattr(own, part))
            writer.write_bytes(f"{number:05d}_{part}.npy", data.getvalue())
    facts = {"checkpoint": checkpoint.reader.manifest.digest, "examples": sampled, "parameters": paths}
    return writer.finish(facts | {"exclude": list(config.exclude or DEFAULT_EXCLUDE)})


def read(path: str, checkpoint: checkpoint_artifact.Checkpoint) -> dict[str, Factors]:
    """The factors of an artifact, by parameter path, for the checkpoint that they were made of.

    Raises:
      InputError: they belong to another checkpoint.
    """
    reader = open_artifact(path, KIND)
    facts = reader.manifest.facts
    checkpoint_artifact.check_made_for(reader, checkpoint.reader, "factors", "estimate_factors")

    def part(number: int, name: str) -> np.ndarray:
        array: np.ndarray = np.load(io.BytesIO(reader.read_bytes(f"{number:05d}_{name}.npy")), allow_pickle=False)
        return array

    return {
        parameter: Factors(**{name: part(number, name) for name in _PARTS})
        for number, parameter in enumerate(facts["parameters"])
    }


def _program(config: EstimateFactorsConfig, checkpoint: checkpoint_artifact.Checkpoint) -> FactorProgram:
    return FactorProgram(
        checkpoint.module, checkpoint.params(), config.labels, exclude=config.exclude or DEFAULT_EXCLUDE
    )


def _batches(config: EstimateFactorsConfig, examples: corpora.Corpus) -> tuple[list[tuple[np.ndarray, int, int]], int]:
    """Rows, length and size of every batch of the sample, and how many examples that is."""
    sample, lengths = np.arange(examples.count), examples.spans[:, 0]
    if 0 < config.sample_size < examples.count:
        generator = seeds.generator(config.seed, "factors", "sample")
        sample = np.sort(generator.choice(sample, config.sample_size, replace=False))
    buckets = bucket_lengths(lengths, config.buckets)
    return list(sweep(sample, lengths[sample], buckets, config.tokens_per_batch)), len(sample)


def _summed(
    writer: Writer, label: str, count: int, of: Callable[[int], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Σ over steps of named arrays, divided over the processes; what was summed is kept."""
    shares, total = Shares(writer, count, label), dict[str, np.ndarray]()
    names = list[str]()
    if kept := shares.kept():
        names = list(of(0))
        total = {name: kept(str(number)) for number, name in enumerate(names)}
    progress = Progress(f"estimate_factors: {label.strip('_')}", count, "batches", done=count - len(shares.left))

    def state() -> dict[str, np.ndarray]:
        return {str(number): array for number, array in enumerate(total.values())}

    for step in shares.work(state):
        for name, array in of(step).items():
            total[name] = total[name] + array if name in total else array
        progress.advance()
    parts, names = shares.whole(state), names or list(total) or list(of(0))
    return {name: np.add.reduce([part(str(number)) for part in parts]) for number, name in enumerate(names)}
