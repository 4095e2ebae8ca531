"""plan: what follows from shapes is counted, what needs the compiler is asked of it once, the tables hold both."""

import jax
import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.encoding.run import EncodeConfig
from jax_tda.jobs import config_files, settings
from jax_tda.jobs.table import JOBS, PARTS
from jax_tda.planning import chips, compiler, costs, run
from jax_tda.planning.run import PlanConfig
from tests.house import tree

CONFIG = tree.ROOT / "configs/road/c4_8b.gin"


def the_8b(*bindings):
    return settings.build("plan", config_files.read([str(CONFIG)], list(bindings)), JOBS, PARTS)


def test_c4_in_float32_takes_what_the_paper_says(tmp_path):
    """Law: 364,868,892 passages × 65,536 numbers × 4 bytes = 87.0 TiB; scales of int8 are counted."""
    config = the_8b("plan.programs = ()")
    made = run.run(config, str(tmp_path / "plan")).read_json("plan.json")
    assert made["bytes_per_example"]["float32"] == 65_536 * 4
    assert round(config.documents * made["bytes_per_example"]["float32"] / 2**40, 1) == 87.0
    assert made["bytes_per_example"]["int8"] == 65_536 + 16 * 4
    assert made["bytes_per_example"]["int8, rank 8"] == 16 * (2 * 8 * 64 + 2 * 4)


def test_hours_and_minutes_are_those_by_hand():
    """Law: FLOPs / (peak × utilisation), bytes / (hosts × rate), six passes for a product of float32 numbers."""
    one = chips.topology("v4:2x2x2")
    assert (one.chips, one.hosts, one.chip.peak) == (8, 2, 275e12)
    work = {"training step": 7e9, "encode, rank one": 5e9, "encode, exact": 6e9}
    hours = costs.corpus_hours(work, 1000, 3e12, one, 0.5)
    assert hours["training step"] == pytest.approx(7e9 * 3e9 / (275e12 * 0.5) / 3600)
    per_row = {"norm under R": 2e6, "score, one query": 3e3}
    minutes = costs.minutes_to_score(per_row, 100, 10**9, 50, one, 0.5, 2e9)
    assert minutes["read"] == pytest.approx(100 * 1e9 / 4e9 / 60)
    assert minutes["norms under R"] == pytest.approx(2e6 * 1e9 * 6 / (8 * 275e12 * 0.5) / 60)
    assert minutes["scores"] == pytest.approx(50 * 3e3 * 1e9 * 6 / (8 * 275e12 * 0.5) / 60)


def test_every_format_of_the_table_is_as_large_as_the_store_makes_it():
    """Law: a row's bytes are those of the arrays that `encode` gives."""
    values = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    for store in costs.FORMATS:
        written = sum(part.nbytes for part in store.encode(values).values())
        assert costs.bytes_per_example(store, 3, 32) == written


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"programs": ("encode",)}, "plan.programs"),
        ({"topologies": ()}, "plan.topologies"),
        ({"topologies": ("v5e:16xx",)}, "plan.topologies"),
        ({"topologies": ("h100:8",)}, "topology"),
        ({"utilisation": 1.5}, "plan.utilisation"),
        ({"documents": 0}, "plan.documents"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_is_written(tmp_path, bad, named):
    """Law: the message names the setting."""
    with pytest.raises(InputError, match=named):
        run.run(PlanConfig(**bad), str(tmp_path / "plan"))
    assert not (tmp_path / "plan").exists()


def test_without_the_compiler_the_remedy_is_said_before_anything_is_written(tmp_path, monkeypatch):
    """Law: four parts instead of a traceback, and no half-made artifact."""

    def absent(**_):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology. See the page.")

    monkeypatch.setattr(compiler.topologies, "get_topology_desc", absent)
    with pytest.raises(InputError, match="tpu_compile"):
        run.run(PlanConfig(topologies=("v5e:2x2",)), str(tmp_path / "plan"))
    assert not (tmp_path / "plan").exists()


class KilledError(Exception):
    pass


def test_a_killed_plan_compiles_nothing_twice(tmp_path, monkeypatch):
    """Law: resumed, only what was not finished is compiled, and the plan is the uninterrupted one."""
    config = PlanConfig(topologies=("v5e:2x2",), programs=("curvature", "score"), encode=EncodeConfig(shard_rows=8))
    asked, stop_at = [], [1]

    def compiled(lower):
        asked.append(lower)
        if len(asked) > stop_at[0]:
            raise KilledError
        return compiler.Memory(arguments=5, outputs=3, temporaries=2, aliased=1)

    monkeypatch.setattr(compiler, "devices", lambda one: list(_devices(one.chips)))
    monkeypatch.setattr(compiler, "compiled", compiled)
    with pytest.raises(KilledError):
        run.run(config, str(tmp_path / "plan"))
    stop_at[0] = 9
    resumed = run.run(config, str(tmp_path / "plan"))
    assert len(asked) == 3
    whole = run.run(config, str(tmp_path / "other"))
    assert resumed.read_bytes("plan.json") == whole.read_bytes("plan.json")
    programs = whole.read_json("plan.json")["topologies"]["v5e:2x2"]["programs"]
    assert {name: found["total"] for name, found in programs.items()} == {"curvature": 9, "score": 9}


def _devices(count):
    return jax.devices()[:count]


def test_what_the_compiler_refuses_is_said_in_its_place():
    """Law: a program too large is a line of the table, not the end of the job; another failure is the job's."""

    def refuse(text):
        def lower():
            raise jax.errors.JaxRuntimeError(text)

        return lower

    found = compiler.compiled(
        refuse("RESOURCE_EXHAUSTED: Ran out.\nUsed 17.30G of 15.75G hbm. Exceeded by 1.55G.\nmore")
    )
    assert found.refused == "Used 17.30G of 15.75G hbm. Exceeded by 1.55G." and found.total == 0
    with pytest.raises(jax.errors.JaxRuntimeError):
        compiler.compiled(refuse("INTERNAL: something else"))
