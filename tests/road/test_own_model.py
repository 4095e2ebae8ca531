"""Laws of models of the user's own code: config alone takes them through the pipeline, and artifacts name no code."""

import importlib
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx

from jax_tda import Encoder
from jax_tda.artifacts import ranking
from jax_tda.artifacts.encodings import open_encodings
from jax_tda.core.errors import InputError
from jax_tda.data import corpus
from jax_tda.jobs import config_files, settings, table
from jax_tda.models import checkpoints
from jax_tda.pipeline import trackstar
from tests.house import tree
from tests.jobs.tiny_road import passages, queries, write_lines

LINEN = (tree.ROOT / "examples/own_model/my_model.py").read_text().replace("512", "264")
NNX = """
import jax.numpy as jnp
from flax import nnx

class Stranger(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(264, 8, rngs=rngs)
        self.steps = nnx.List([nnx.Linear(8, 8, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(8, 264, rngs=rngs)

    def __call__(self, tokens):
        x = self.embedding(tokens)
        for step in self.steps:
            x = x + jnp.tanh(step(jnp.cumsum(x, 1) / (1 + jnp.arange(x.shape[1]))[None, :, None]))
        return self.head(x)

def build():
    return Stranger(nnx.Rngs(0))

def needs(size):
    return size

def loss():
    return lambda params, example: 0.0

class Scalar(nnx.Module):
    def __call__(self, tokens):
        return tokens.sum()

none = None
"""
SETTINGS = """
train_vocabulary.kind = 'bytes'
tokenize.context = 24
optimizer.peak_rate = 2e-2
optimizer.warmup_steps = 1
pretrain.steps = 3
pretrain.tokens_per_batch = 128
pretrain.buckets = 1
estimate_second_moments.batches = 2
estimate_second_moments.batch_size = 8
encode.projected_size = 3
encode.buckets = 1
encode.blocks = 'matrices'
encode.second_moments = 'none'
mix_curvature.query_weight = 0.5
score.top_k = 5
rank_baseline.top_k = 5
tail_patch.queries = 2
tail_patch.proponents = 2
tail_patch.rate = 1e-3
bootstrap.resamples = 50
"""


@pytest.fixture
def place(tmp_path):
    """A stranger's package, texts, and a config that names it."""
    package = tmp_path / "code/strangers_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "in_linen.py").write_text(LINEN)
    (package / "in_nnx.py").write_text(NNX)
    write_lines(tmp_path / "corpus.jsonl", passages(12))
    write_lines(tmp_path / "queries.jsonl", queries(4))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("strangers_package")]:
        del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path != str(tmp_path / "code")]


def config_at(place, module, more=""):
    path = place / f"{module}.gin"
    path.write_text(
        f"own_model.build = 'strangers_package.{module}:build'\nown_model.path = '{place / 'code'}'\n{SETTINGS}{more}"
    )
    return str(path)


def job(name, output, config, *bindings):
    made = settings.build(name, config_files.read([config], list(bindings)), table.JOBS, table.PARTS, True)
    return table.work_of(name).run(made, str(output))


def gone(place, config, checkpoint="", only=()):
    """The steps of the pipeline as a config makes them, but for those that differ from these in settings alone."""
    given = trackstar.TrackstarConfig(
        str(place / "corpus.jsonl"), str(place / "queries.jsonl"), str(place / "out"), checkpoint=checkpoint
    )
    left = ("encodings_plain", "corrections/r_train", "rankings/grad", "rankings/second", "rankings/r_train")
    for step in trackstar.steps(given):
        if not step.name.startswith(left) and (not only or step.name in only):
            job(step.job, step.output, config, *step.bindings())
    return place / "out"


def expect_judged(out, model, params, module):
    """Answers, encodings and rankings are those of the model as Python asks it."""
    asked = corpus.open_corpus(str(out / "queries"))
    examples = asked.examples(np.arange(asked.count), asked.longest, asked.count)
    logits = np.asarray(model(params, jnp.asarray(examples["tokens"])), np.float64)[:, :-1]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    chosen = np.take_along_axis(log_p, examples["tokens"][:, 1:, None], -1)[..., 0]
    expected = (chosen * examples["loss_weights"][:, 1:]).sum(1)
    answered = [json.loads(line) for line in (out / "answers/answers.jsonl").read_text().splitlines()]
    np.testing.assert_allclose([row["target_log_probability"] for row in answered], expected, atol=1e-4)
    encoded = Encoder(module, params, blocks="matrices", projected_size=3, self_check=0).encode(examples)
    store = open_encodings(str(out / "encodings/query"))
    stored = np.asarray(store.read(0, store.count)).reshape(asked.count, -1)
    plain = np.concatenate([np.asarray(value).reshape(asked.count, -1) for value in encoded.values()], 1)
    np.testing.assert_allclose(stored, plain, atol=1e-5 * np.abs(plain).max())


def expect_ranked(out):
    """Every query has its passages, and the report and the page are there."""
    rows = ranking.read(str(out / "rankings/trackstar.jsonl"))[0]
    assert len(rows) == 4 and all(len(row["proponents"]) == 5 for row in rows)
    report = json.loads((out / "report.json").read_text())
    assert "tail_patch" in json.dumps(report) and (out / "page/index.html").exists()


@pytest.mark.nightly
def test_a_linen_module_is_trained_and_attributed_by_config_alone(place):
    """The example's own model: from text to a page; its checkpoint opens for a config that names the same code."""
    config = config_at(place, "in_linen")
    out = gone(place, config)
    model = importlib.import_module("strangers_package.in_linen").build()
    params = checkpoints.restore_untyped(str(out / "checkpoint/state"))["params"]
    expect_judged(out, lambda params, tokens: model.apply({"params": params}, tokens), params, model)
    expect_ranked(out)
    given = [f"encode.examples='{out / 'queries'}'", f"encode.checkpoint='{out / 'checkpoint'}'"]
    job("encode", place / "divided", config, *given, "mesh.weights='sharded'", "mesh.model=2")
    whole, divided = (open_encodings(str(path)) for path in (out / "encodings/query", place / "divided"))
    expected = np.asarray(whole.read(0, whole.count))
    np.testing.assert_allclose(np.asarray(divided.read(0, 4)), expected, atol=1e-5 * np.abs(expected).max())


@pytest.fixture
def imported(place):
    """An nnx module, its config, and the checkpoint that import made of parameters that orbax wrote."""
    # What is encoded is compared with Python's own encoder here.
    config = config_at(place, "in_nnx", "encode.self_check = 0\n")
    sys.path.insert(0, str(place / "code"))
    module = importlib.import_module("strangers_package.in_nnx").build()
    trained = jax.tree.map(lambda leaf: leaf + 0.01, nnx.state(module, nnx.Param))
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(place / "saved", {"model": trained})
    job("train_vocabulary", place / "vocabulary", config)
    found = {"model": "saved", "vocabulary": "vocabulary"}
    given = [f"import_checkpoint.{name}='{place / what}'" for name, what in found.items()]
    given.append("import_checkpoint.context=24")
    job("import_checkpoint", place / "model", config, *given)
    nnx.update(module, trained)
    return place, module, config, given


def test_an_nnx_module_is_imported_asked_and_encoded_by_config_alone(imported):
    """What orbax wrote are the parameters; a tree of others, and a config without the code, are refused."""
    place, module, config, given = imported
    out = gone(place, config, str(place / "model"), only=("check", "queries", "answers", "encodings/query"))
    params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    expect_judged(out, lambda _, tokens: module(tokens), params, module)
    ask = (f"answer.queries='{out / 'queries'}'", f"answer.checkpoint='{place / 'model'}'")
    with pytest.raises(InputError, match=r"(?s)somebody's own code.*set `own_model.build = 'strangers_package.in_nnx"):
        job("answer", place / "again", config, *ask, "own_model.build=''")
    with pytest.raises(InputError, match="bank works with decoders alone"):
        job("bank", place / "bank", config, f"pretrain.corpus='{out}'", f"bank.queries='{out}'")
    with pytest.raises(InputError, match="plan works with decoders alone"):
        job("plan", place / "plan", config)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(place / "others", {"model": {"other": np.zeros(3)}})
    with pytest.raises(InputError, match=r"(?s)does not hold the parameters of strangers_package.in_nnx.*embedding"):
        job("import_checkpoint", place / "wrong", config, *given, f"import_checkpoint.model='{place / 'others'}'")


@pytest.mark.nightly
def test_an_nnx_module_with_parameters_of_its_own_is_attributed_by_config_alone(imported):
    """Text to a page, second moments estimated on the way; and exact scores of every pair."""
    place, module, config, _ = imported
    out = gone(place, config, str(place / "model"))
    params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    expect_judged(out, lambda _, tokens: module(tokens), params, module)
    expect_ranked(out)
    score = [f"rescore.{name}='{out / name}'" for name in ("corpus", "queries")]
    score += [f"rescore.checkpoint='{place / 'model'}'", "rescore.direction='gradient'"]
    job("rescore", place / "rescored", config, *score)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("strangers_package.nowhere:build", r"No module named 'strangers_package.nowhere'"),
        ("strangers_package.in_nnx:nothing", "nothing called nothing in strangers_package.in_nnx"),
        ("strangers_package.in_nnx:none", "nothing called none"),
        ("strangers_package.in_nnx:needs", "a function that needs size"),
        ("strangers_package.in_nnx:loss", r"(?s)a function.*a pure loss is taken from Python alone"),
        ("strangers_package.in_nnx:Scalar", r"(?s)an array \[\] of tokens.*logits \[1, 2, V\]"),
        ("in_nnx", r"own_model\.build is not possible"),
    ],
)
def test_code_that_makes_no_language_model_is_refused_with_what_it_made(place, build, message):
    """Before anything is written, in four parts."""
    config = config_at(place, "in_nnx")
    job("train_vocabulary", place / "vocabulary", config)
    given = [f"import_checkpoint.model='{place}'", f"import_checkpoint.vocabulary='{place / 'vocabulary'}'"]
    with pytest.raises(InputError, match=message):
        job(
            "import_checkpoint",
            place / "model",
            config,
            *given,
            "import_checkpoint.context=9",
            f"own_model.build='{build}'",
        )
    assert not (place / "model").exists()
