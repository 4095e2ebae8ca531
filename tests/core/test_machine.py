"""A job says on what it computes, and when an accelerator lies idle."""

import pathlib

import jax
import pytest

from jax_tda.core import machine


def test_the_line_names_device_count_release_and_precision(capsys):
    """Law: what JAX itself says of its devices, in one line."""
    machine.announce()
    line, *more = capsys.readouterr().out.splitlines()
    assert (
        line == f"device: {jax.device_count()} x cpu (cpu), JAX {jax.__version__}, matrix products in default precision"
    )
    assert not more


@pytest.mark.parametrize(("driver", "extra"), [(there[0], there[2]) for there in machine._DRIVERS])
def test_an_accelerator_that_jax_cannot_use_is_said_with_the_extra_that_helps(monkeypatch, capsys, driver, extra):
    """Law: a driver is there, JAX has CPUs alone, nobody asked for the CPU: a second line; asked for, none."""
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: str(path) == driver)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    machine.announce()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2 and extra in said[1] and "ACCELERATOR" in said[1]
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    machine.announce()
    assert len(capsys.readouterr().out.splitlines()) == 1
