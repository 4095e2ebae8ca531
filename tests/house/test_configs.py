"""The doors fit the house: every name in the table leads to a config class, every config file says only known names."""

import dataclasses
import importlib

import pytest

from jax_tda.core.bounds import conform
from jax_tda.jobs import config_files
from jax_tda.jobs.checks import checked, parameters
from jax_tda.jobs.table import JOBS, PARTS, TABLE, load, work_of
from tests.house import tree

CONFIGS = [path for path in tree.files(".gin") if path.is_relative_to(tree.ROOT / "configs")]


@pytest.mark.parametrize("name", [*JOBS, *PARTS])
def test_every_name_leads_to_a_frozen_config_whose_defaults_fit_their_types(name):
    """What a user could write as gin for a default must be accepted as that parameter's value."""
    config = load({**JOBS, **PARTS}[name])
    assert dataclasses.is_dataclass(config) and config.__dataclass_params__.frozen
    annotations = parameters(config)
    for field in dataclasses.fields(config):
        if field.name in annotations and field.default is not dataclasses.MISSING:
            assert conform(field.default, annotations[field.name]) == field.default


@pytest.mark.parametrize("job", JOBS)
def test_every_job_can_be_run_and_planned_and_is_a_module_of_its_own_without_a_file(job):
    """`python -m jax_tda.jobs.JOB` is the verb JOB; importing the module does nothing."""
    work = work_of(job)
    assert callable(work.run) and callable(work.plan) and TABLE[job].sentence.endswith(".")
    module = importlib.import_module(f"jax_tda.jobs.{job}")
    assert f"command.main(['{job}'])" in module.__loader__.get_source(module.__name__)


@pytest.mark.parametrize("job", JOBS)
def test_every_config_inside_a_config_has_a_name_of_its_own(job):
    """A setting of a nested config is written under that config's name, so the table must know it."""
    named = {load(target) for target in (*JOBS.values(), *PARTS.values())}
    fields = dataclasses.fields(load(JOBS[job]))
    nested = {field.default_factory for field in fields if dataclasses.is_dataclass(field.default_factory)}
    assert nested <= named


def test_every_config_says_known_names_with_values_of_their_types_under_a_head():
    """The head states the command, the hardware, the expected time and number."""
    assert tree.ROOT / "configs/road/demo.gin" in CONFIGS
    for path in CONFIGS:
        bindings = config_files.read([str(path)], [])
        assert bindings and path.read_text("utf-8").lstrip().startswith("#")
        for binding in bindings:
            checked(binding, load({**JOBS, **PARTS}[binding.name]))
