"""Laws of an optimizer.pt: V̂ by each group's own decay and each parameter's own step, or a refusal by name."""

import numpy as np
import pytest
import torch

from jax_tda.core.errors import InputError
from jax_tda.models.importers import assemble, torch_moments
from tests.models.importers import tiny

CASE, NAME = "llama grouped tied biased", "model.layers.1.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny.opened(tiny.model(CASE), tmp_path_factory.mktemp("model"))


def grouped(model, **second):
    """Matrices, and biases and norms, with a decay of their own."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    return [{"params": matrices, "betas": (0.9, 0.95)}, {"params": vectors, "betas": (0.8, 0.7)} | second]


def stepped(optimizer, model, steps=3):
    for step in range(steps):
        optimizer.zero_grad()
        tokens = torch.arange(step, step + 12)[None]
        model(tokens, labels=tokens).loss.backward()
        optimizer.step()
    return optimizer


def read(path, source):
    return torch_moments.read(str(path), source.family, source.config, assemble.shapes_of(source))


@pytest.mark.parametrize("amsgrad", [False, True])
def test_each_group_has_its_own_decay(amsgrad, source, tmp_path):
    """√V̂ + ε is what torch divides by: one more step without momentum and with gradient 1 shows it."""
    model = tiny.model(CASE)
    optimizer = stepped(torch.optim.AdamW(grouped(model), lr=0.0, amsgrad=amsgrad), model)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    found, epsilon, kind = read(tmp_path / "optimizer.pt", source)
    assert (epsilon, kind) == (1e-8, "adam")
    kept = "max_exp_avg_sq" if amsgrad else "exp_avg_sq"
    named = dict(model.named_parameters())
    kernel = optimizer.state[named[NAME]][kept].numpy().T / (1 - 0.95**3)
    np.testing.assert_allclose(found["layers/mlp/up/kernel"][1], kernel, rtol=1e-5)
    bias = optimizer.state[named[NAME.replace("weight", "bias")]][kept].numpy() / (1 - 0.7**3)
    np.testing.assert_allclose(found["layers/mlp/up/bias"][1], bias, rtol=1e-5)


def test_narrow_moments_are_named(source, tmp_path):
    """A model trained in bfloat16 keeps its moments so."""
    model = tiny.model(CASE).to(torch.bfloat16)
    torch.save(stepped(torch.optim.Adam(model.parameters()), model).state_dict(), tmp_path / "optimizer.pt")
    with pytest.warns(UserWarning, match="half of g²"):
        assert read(tmp_path / "optimizer.pt", source)[2] == "adam, kept in bfloat16"


def spoilt(change):
    def spoil(held):
        change(held)
        return held

    return spoil


BAD = {
    "nan": (spoilt(lambda h: h["state"][3]["exp_avg_sq"].fill_(float("nan"))), "negative or not finite"),
    "negative": (spoilt(lambda h: h["state"][3]["exp_avg_sq"][0].fill_(-1.0)), "negative or not finite"),
    "b2 of 1": (spoilt(lambda h: h["param_groups"][1].update(betas=(0.9, 1.0))), "betas"),
    "b2 nan": (spoilt(lambda h: h["param_groups"][0].update(betas=(0.9, float("nan")))), "betas"),
    "three betas": (spoilt(lambda h: h["param_groups"][0].update(betas=(0.9, 0.9, 0.9))), "betas"),
    "no step": (spoilt(lambda h: h["state"][2].update(step=torch.tensor(0.0))), "step 0"),
    "two eps": (spoilt(lambda h: h["param_groups"][1].update(eps=1e-3)), "eps"),
    "other names": (spoilt(lambda h: h["state"][2].update(exp_avg_diff=torch.ones(1))), "exp_avg_diff"),
    "other group": (spoilt(lambda h: h["param_groups"][0].update(correct_bias=False)), "correct_bias"),
    "no groups": (lambda h: h | {"param_groups": []}, "cannot be read"),
    "no state": (lambda h: {"param_groups": h["param_groups"]}, "cannot be read"),
    "a list": (lambda h: [h], "cannot be read"),
    "a state of numbers": (lambda h: h | {"state": {0: 3}}, "cannot be read"),
}


@pytest.fixture(scope="module")
def whole():
    model = tiny.model(CASE)
    return stepped(torch.optim.AdamW(grouped(model)), model, 1).state_dict()


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_second_moment_is_refused(bad, whole, source, tmp_path):
    """With the parameter, or the group's entry, in words."""
    torch.save(whole, tmp_path / "optimizer.pt")
    read(tmp_path / "optimizer.pt", source)
    held = torch.load(tmp_path / "optimizer.pt", weights_only=True)
    change, word = BAD[bad]
    torch.save(change(held), tmp_path / "bad.pt")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "bad.pt", source)
    assert word in str(caught.value)


@pytest.mark.parametrize("kind", ["Adamax", "NAdam", "RMSprop", "Adagrad", "SGD", "Adadelta"])
def test_other_optimizers_of_torch_are_refused(kind, source, tmp_path):
    """Whatever they keep under whatever name."""
    model = tiny.model(CASE)
    optimizer = stepped(getattr(torch.optim, kind)(model.parameters(), lr=1e-3), model, 1)
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    with pytest.raises(InputError, match=r"optimizer\.pt (holds|does not belong)"):
        read(tmp_path / "optimizer.pt", source)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", None])
def test_files_that_are_no_state_are_refused_on_one_line(content, source, tmp_path):
    """Empty, broken off, another pickle, or missing."""
    if content is not None:
        (tmp_path / "optimizer.pt").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a torch optimizer's state") as caught:
        read(tmp_path / "optimizer.pt", source)
    assert "\n" not in caught.value.got and "\x1b" not in caught.value.got
