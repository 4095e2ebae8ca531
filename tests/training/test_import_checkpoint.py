"""Laws of an imported checkpoint on the road: it is the model that was given, and it lacks an optimizer, in words."""

import dataclasses

import jax
import numpy as np
import pytest
import torch
import transformers

from jax_tda.core import mesh as meshes
from jax_tda.core import trees
from jax_tda.core.errors import InputError
from jax_tda.data import tokenize
from jax_tda.data.corpus import open_corpus
from jax_tda.encoding import estimate_moments
from jax_tda.encoding import run as encoding
from jax_tda.encoding.estimate_moments import EstimateSecondMomentsConfig
from jax_tda.evaluation import run as evaluation
from jax_tda.evaluation.run import EvaluateConfig
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.models import likelihood
from jax_tda.models.checkpoint_artifact import open_checkpoint
from jax_tda.models.importers import names
from jax_tda.training import import_checkpoint
from jax_tda.training.import_checkpoint import ImportCheckpointConfig
from tests.data.tiny_tokenizers import byte_level
from tests.jobs import tiny_road
from tests.models.importers import tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model with its tokenizer, imported, and a corpus tokenized with it."""
    place = tmp_path_factory.mktemp("imported")
    model = tiny.model("llama grouped tied biased", vocab_size=340)
    model.save_pretrained(place / "model")
    transformers.PreTrainedTokenizerFast(tokenizer_object=byte_level(), eos_token="<end>").save_pretrained(
        place / "model"
    )
    import_checkpoint.run(ImportCheckpointConfig(model=str(place / "model"), context=20), str(place / "checkpoint"))
    source = tiny_road.write_lines(place / "corpus.jsonl", tiny_road.passages(20))
    tokenize.run(tokenize.TokenizeConfig(source=source, vocabulary=str(place / "checkpoint")), str(place / "corpus"))
    return place


def encode_config(place, **changes):
    config = encoding.EncodeConfig(
        examples=str(place / "corpus"), checkpoint=str(place / "checkpoint"), projected_size=4, buckets=1
    )
    return dataclasses.replace(config, **changes)


def moments_config(place, **changes):
    config = EstimateSecondMomentsConfig(
        checkpoint=str(place / "checkpoint"), examples=str(place / "corpus"), batches=7, batch_size=6, buckets=1
    )
    return dataclasses.replace(config, **changes)


def test_an_imported_checkpoint_is_the_model_that_was_given(place):
    """Logits of the artifact = logits of transformers, on ids of the artifact's own vocabulary."""
    checkpoint, corpus = open_checkpoint(str(place / "checkpoint")), open_corpus(str(place / "corpus"))
    facts = checkpoint.reader.manifest.facts
    assert facts["context"] == corpus.context == 20 and facts["imported"]["family"] == "llama"
    assert set(checkpoint.reader.manifest.settings["files"]) >= {"model.safetensors", "config.json", "tokenizer.json"}
    tokens = corpus.examples(np.arange(4), 20, 4)["tokens"]
    expected = tiny.logits(tiny.model("llama grouped tied biased", vocab_size=340), tokens)
    found = jax.jit(checkpoint.model.apply)({"params": checkpoint.params()}, tokens)
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


def test_every_matrix_of_attention_and_mlp_is_encoded_by_probes(place):
    """All seven of a layer on the fast path; embeddings, norms and biases excluded by name."""
    encoder = encoding.make_encoder(encode_config(place, second_moments="none"))
    assert {matrix.route for matrix in encoder.plan.matrices} == {"probe"} and len(encoder.plan.matrices) == 7
    assert len(encoder.plan.excluded) == 1 + 3 + 7


def test_without_second_moments_the_remedy_is_named(place, tmp_path):
    """Encoding without them works; with them, the job that makes them is the remedy; so for tail-patch."""
    encoded = encoding.run(encode_config(place, second_moments="none"), str(tmp_path / "plain"))
    assert encoded.manifest.facts["second_moments"] == "none" and encoded.manifest.facts["examples"] == 20
    with pytest.raises(InputError, match=r"no optimizer state[\s\S]*estimate_second_moments"):
        encoding.run(encode_config(place), str(tmp_path / "corrected"))
    with pytest.raises(InputError, match=r"no optimizer state[\s\S]*tail_patch\.rate above 0"):
        evaluation._step(open_checkpoint(str(place / "checkpoint")), EvaluateConfig(), meshes.make_mesh())


@pytest.mark.parametrize(("examples", "asked", "batches"), [(200, 0, 12), (32, 0, 2), (10**6, 0, 64), (200, 5, 5)])
def test_the_work_on_second_moments_scales_with_the_corpus(examples, asked, batches):
    """Law: by hand: batches of 32, two passes over them, 64 at most, unless their number is given."""
    config = estimate_moments.EstimateSecondMomentsConfig(batches=asked)
    assert estimate_moments.how_many(config, examples) == batches


def test_estimated_second_moments_are_the_mean_of_squared_batch_gradients(place, tmp_path, capfd):
    """V = mean_b (∂ mean loss of batch b)², batch by batch in plain JAX; encode and tail-patch take them."""
    config = moments_config(place)
    estimate_moments.run(config, str(tmp_path / "moments"))
    said = capfd.readouterr().err
    assert said.index("7 batches of 6 examples") < said.index("for 7 batches, as the first one took")
    checkpoint, corpus = open_checkpoint(config.checkpoint), open_corpus(config.examples)
    params = checkpoint.params()

    @jax.jit
    def gradient(tokens, weights):
        def mean(params):
            logits = checkpoint.model.apply({"params": params}, tokens)
            return jax.numpy.sum(likelihood.loss(logits, tokens, weights)) / jax.numpy.sum(weights[:, 1:])

        return jax.grad(mean)(params)

    drawn = estimate_moments._drawn(20, 7, 6, 0)
    # Three batches of 6 make an epoch of 20 rows: 18 different ones.
    assert [len(set(np.concatenate(drawn[i : i + 3]))) for i in (0, 3)] == [18, 18]
    expected = dict.fromkeys(trees.flatten(params), 0.0)
    for rows in drawn:
        batch = corpus.examples(rows, corpus.longest, 6)
        for path, leaf in trees.flatten(gradient(batch["tokens"], batch["loss_weights"])).items():
            expected[path] = expected[path] + np.square(np.asarray(leaf, np.float64)) / 7
    found = estimate_moments.read(str(tmp_path / "moments"), checkpoint)
    for path, value in expected.items():
        got = found.full(path, value.shape)
        np.testing.assert_allclose(got, value, rtol=1e-3, atol=1e-5 * value.max(), err_msg=path)
    encoded = encoding.run(encode_config(place, moments=str(tmp_path / "moments")), str(tmp_path / "encoded"))
    digest = encoded.manifest.inputs["moments"]["digest"][:12]
    assert f"estimated from 7 batches of 6 ({digest}), rank_one" in encoded.manifest.facts["second_moments"]
    patched = EvaluateConfig(tail_patch=TailPatchConfig(rate=0.5), moments=str(tmp_path / "moments"))
    _, _, rate = evaluation._step(checkpoint, patched, meshes.make_mesh())
    assert rate == 0.5


def test_second_moments_of_another_checkpoint_are_refused(place, tmp_path):
    """They would divide by another model's gradients."""
    estimate_moments.run(moments_config(place, batches=1), str(tmp_path / "moments"))
    config = ImportCheckpointConfig(model=str(place / "model"), context=19)
    import_checkpoint.run(config, str(tmp_path / "other"))
    with pytest.raises(InputError, match="do not belong to the checkpoint"):
        estimate_moments.read(str(tmp_path / "moments"), open_checkpoint(str(tmp_path / "other")))
    with pytest.raises(InputError, match="too few examples"):
        estimate_moments.run(moments_config(place, batch_size=21), str(tmp_path / "few"))


def decaying(model):
    """The parameters in the groups of transformers' Trainer."""
    decayed = set(transformers.Trainer.get_decay_parameter_names(None, model))
    named = list(model.named_parameters())
    return [
        {"params": [parameter for name, parameter in named if name in decayed], "weight_decay": 0.1},
        {"params": [parameter for name, parameter in named if name not in decayed], "weight_decay": 0.0},
    ]


@pytest.mark.parametrize("grouped", [True, False], ids=["two groups", "one group"])
def test_an_optimizer_pt_gives_each_parameter_its_own_second_moments(grouped, place, tmp_path):
    """V̂ of every kernel = exp_avg_sq / (1 − b2^t) of the torch parameter that it was imported from."""
    model = tiny.model("llama grouped tied biased", vocab_size=340)
    optimizer = torch.optim.AdamW(decaying(model) if grouped else model.parameters(), lr=0.0, betas=(0.9, 0.95))
    for step in range(3):
        optimizer.zero_grad()
        tokens = torch.arange(step, step + 12)[None]
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    config = moments_config(place, source="torch", state=str(tmp_path / "optimizer.pt"))
    estimate_moments.run(config, str(tmp_path / "moments"))
    checkpoint = open_checkpoint(config.checkpoint)
    found = estimate_moments.read(str(tmp_path / "moments"), checkpoint)
    theirs = {name: optimizer.state[parameter]["exp_avg_sq"] for name, parameter in model.named_parameters()}
    for ours, name in {"query": "self_attn.q_proj", "value": "self_attn.v_proj"}.items():
        got = found.full(
            f"layers/attention/{ours}/kernel",
            trees.flatten(checkpoint.params())[f"layers/attention/{ours}/kernel"].shape,
        )
        expected = [theirs[f"model.layers.{layer}.{name}.weight"].numpy().T / (1 - 0.95**3) for layer in range(2)]
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(InputError, match=r"cannot be read as a torch optimizer"):
        (tmp_path / "bad.pt").write_bytes(b"no pickle")
        estimate_moments.run(dataclasses.replace(config, state=str(tmp_path / "bad.pt")), str(tmp_path / "bad"))


@pytest.mark.parametrize("case", tiny.CASES)
def test_parameters_are_numbered_as_torch_numbers_them(case, place):
    """The names of model.parameters(), in order."""
    model = tiny.model(case)
    source = tiny.opened(model, place / "numbered" / case)
    shapes = import_checkpoint.assemble.shapes_of(source)
    theirs = [name for name, _ in model.named_parameters()]
    ours = names.torch_order(source.family, source.config, shapes)
    assert [name.replace("embed_out", "lm_head") for name in ours] == theirs


def test_moments_of_an_optax_state_are_its_own(place, tmp_path):
    """V̂ of an Adam state saved by orbax = nu / (1 − b2^count)."""
    import optax

    from jax_tda.models import checkpoints

    checkpoint = open_checkpoint(str(place / "checkpoint"))
    params = checkpoint.params()
    optimizer = optax.adam(0.1, b2=0.9)
    state = optimizer.init(params)
    for scale in (1.0, 2.0):
        _, state = optimizer.update(jax.tree.map(lambda leaf, by=scale: by * leaf, params), state)
    checkpoints.save(str(tmp_path / "state"), {"opt_state": state})
    config = moments_config(place, source="orbax", state=str(tmp_path / "state"), optimizer="adam", b2=0.9)
    estimate_moments.run(config, str(tmp_path / "moments"))
    found = estimate_moments.read(str(tmp_path / "moments"), checkpoint)
    for path, leaf in trees.flatten(params).items():
        expected = np.asarray(leaf, np.float64) ** 2 * (0.1 * 0.9 + 0.1 * 4) / (1 - 0.9**2)
        np.testing.assert_allclose(found.full(path, leaf.shape), expected, rtol=1e-5)
