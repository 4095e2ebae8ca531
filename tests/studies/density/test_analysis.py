"""Results of tables whose truth is known, because they were made up."""

import dataclasses
import json

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.evaluation.tail_patch import TailPatchConfig
from jax_tda.studies.density import analysis, measure, page, run
from jax_tda.studies.density.estimates import over_seeds
from jax_tda.studies.density.settings import DensityConfig
from jax_tda.studies.density.world import KINDS

SPACES = ("text", "gradient", "trackstar")
PREDICTORS = [f"{name}/{space}" for name in ("density", "nearest", "mean_nearest") for space in SPACES] + ["overlap"]
CONFIG = DensityConfig(
    facts=300,
    pairs=8,
    prose=5,
    held_out=40,
    sample=40,
    permutations=49,
    kernels=("gaussian",),
    bandwidth_factors=(1.0, 2.0),
)
CONFIG = dataclasses.replace(CONFIG, bootstrap=dataclasses.replace(CONFIG.bootstrap, resamples=100))


def made_up(seed, count=300):
    """Queries whose likelihood follows the gradient density, and leaks whose gain is their dose."""
    random = np.random.default_rng(seed)
    density = random.normal(size=count)
    table = {name: random.normal(size=count).tolist() for name in PREDICTORS}
    table |= {f"density/{space}": random.normal(size=count).tolist() for space in SPACES}
    table["density/gradient"] = density.tolist()
    table["wordings"] = [row % 5 for row in range(count)]
    tokens = random.integers(1, 5, count)
    pair = [row // 2 if row < 96 else None for row in range(count)]
    copies = [(1, 2, 4)[(row // 2) % 3] if row < 96 else None for row in range(count)]
    kind = [KINDS[(row // 6) % 2] if row < 96 else None for row in range(count)]
    role = [("leaked", "control")[row % 2] if row < 96 else None for row in range(count)]
    dose = np.array([m if r == "leaked" else 0 for m, r in zip(copies, role, strict=True)], float)
    dose = np.nan_to_num(dose)
    log_p = tokens * (2 * density + 0.3 * random.normal(size=count) - 9)
    table |= {
        "id": [f"q{row}" for row in range(count)],
        "subject": [f"s{row // 3}" for row in range(count)],
        "relation": [f"r{row % 4}" for row in range(count)],
        "target_tokens": tokens.tolist(),
        "tokens": (tokens + 7).tolist(),
        "unigram": random.normal(size=count).tolist(),
        **{"pair": pair, "copies": copies, "kind": kind, "role": role},
        "log_p": log_p.tolist(),
        "log_p_tuned": (log_p + 1 + dose).tolist(),
        "right": (random.random(count) < 1 / (1 + np.exp(-2 * density))).tolist(),
        "right_tuned": (dose > 1).tolist(),
        "strength": random.random(count).tolist(),
        "recall": [None if row % 5 == 0 else 1.0 for row in range(count)],
        "tail_patch": [None if row % 2 else float(density[row]) for row in range(count)],
    }
    for space in SPACES:
        held = np.array([one is not None for one in pair])
        table[f"background/{space}"] = [0.0 if here else None for here in held]
        risen = dose if space == "gradient" else random.normal(size=count)
        table[f"tuning/{space}"] = [float(r) if here else None for r, here in zip(risen, held, strict=True)]
    table["density/text"][7] = None  # A gradient of zero would look like this.
    swept = {"held_out": [1.0, 2.0], "correlations": [0.1, -0.2], "best": 1, "at_edge": True, "bandwidths": [1, 2]}
    facts = {"sweeps": {s: {"gaussian": swept} for s in SPACES}, "sampled": {}}
    return table, facts


@pytest.fixture(scope="module")
def results():
    made = {seed: made_up(seed) for seed in (0, 1)}
    tables = {s: {name: run.column(v) for name, v in table.items()} for s, (table, _) in made.items()}
    return analysis.analyse(tables, {s: facts | {"counts": {}} for s, (_, facts) in made.items()}, CONFIG)


def test_what_explains_the_outcome_is_found_in_its_own_space_and_in_no_other(results):
    """Law: likelihood made from the gradient density gives it a partial R² near 1, and chance the others."""
    found = results["pretraining"]["predictors"]
    gradient, text = found["density/gradient"], found["density/text"]
    assert gradient["partial"]["low"] > 0.9 and gradient["slope"]["high"] < 0 and max(gradient["p"]) == 1 / 50
    assert text["partial"]["mean"] < 0.05 and len(text["p"]) == 2
    difference = results["pretraining"]["differences"]["density/gradient-density/text"]["partial"]
    seeds = [g - t for g, t in zip(gradient["partial"]["seeds"], text["partial"]["seeds"], strict=True)]
    assert difference["seeds"] == pytest.approx(seeds) and difference["low"] > 0.8
    assert results["correctness"]["density/gradient"]["log_odds"]["low"] > 0.5
    assert results["influence"]["tail_patch"]["predictors"]["density/gradient"]["slope"]["low"] > 0.5


def test_a_row_without_a_value_is_left_out_and_counted(results):
    """Law: one query of each seed has no density in text."""
    assert [results["counts"][seed]["left_out"] for seed in ("0", "1")] == [1, 1]
    assert results["pretraining"]["rows"] == [299, 299]


def test_the_gain_of_a_leak_is_that_over_its_control(results):
    """Law: the leaked gain 1 + m, the controls 1, and the difference is m; the gradient's density alone rose by m."""
    for cell in results["leakage"]["cells"]:
        m = cell["copies"]
        assert cell["gain"]["leaked"]["mean"] == pytest.approx(1 + m) and cell["gain"]["control"][
            "mean"
        ] == pytest.approx(1)
        assert cell["gain"]["difference"]["mean"] == pytest.approx(m)
        assert cell["rise/gradient"]["difference"]["mean"] == pytest.approx(m)
        assert cell["right"]["leaked"]["mean"] == float(m > 1)
    assert sum(cell["pairs"] for cell in results["leakage"]["cells"]) == 2 * 48 - 2
    prediction = results["leakage"]["prediction"]
    assert prediction["predictors"]["tuning/gradient"]["partial"]["mean"] == pytest.approx(1)
    assert prediction["known_dose"]["mean"] == pytest.approx(1)
    assert prediction["differences"]["tuning/gradient-tuning/text"]["partial"]["low"] > 0.8


def test_a_figure_over_seeds_is_their_mean_and_its_draws_the_means_of_theirs():
    """Law: by hand."""
    found = over_seeds([np.array([1.0, 0.0, 2.0]), np.array([3.0, 2.0, 4.0])], 1.0)
    assert found.as_dict() == {"mean": 2.0, "low": 1.0, "high": 3.0, "seeds": [1.0, 3.0]}


def test_the_page_needs_no_other_file_and_holds_every_figure(results):
    """Law: nothing is fetched, every figure stands in it, and results.json is JSON."""
    drawn = page.figures(results)
    html = page.render(results, drawn)
    assert "src=" not in html and "href=" not in html and "<script" not in html
    assert all(figure in html and figure.startswith("<svg") for figure in drawn.values()) and len(drawn) == 4
    assert "nan" not in page.summary(results).lower()
    assert json.loads(json.dumps(results, allow_nan=False))["seeds"] == [0, 1]


def test_a_killed_study_measures_no_seed_twice_and_ends_with_the_same_results(tmp_path, monkeypatch):
    """Law: what a finished seed left is taken, and results.json is byte for byte that of a run without a kill."""
    measured = []

    def fake(config, seed, stages):
        measured.append(seed)
        if measured == [0, 1]:
            raise KeyboardInterrupt
        return made_up(seed)

    monkeypatch.setattr(measure, "measure", fake)
    config = dataclasses.replace(CONFIG, seeds=(0, 1))
    with pytest.raises(KeyboardInterrupt):
        run.run(config, str(tmp_path / "killed"))
    killed, whole = (run.run(config, str(tmp_path / name)) for name in ("killed", "whole"))
    assert measured == [0, 1, 1, 0, 1]
    assert killed.read_bytes("results.json") == whole.read_bytes("results.json")
    assert {"index.html", "results.json", "seed_0.jsonl", "figures/leakage.svg"} <= set(killed.manifest.files)
    assert run.run(config, str(tmp_path / "killed")).manifest == killed.manifest and len(measured) == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": ()},
        {"seeds": (0, 0)},
        {"kernel": "box"},
        {"kernels": ("box",), "kernel": "box"},
        {"bandwidth_factors": (0.0,)},
        {"bandwidth_factors": ()},
        {"tuning_rate": 0.0},
        {"facts": -1},
        {"draws": 1},
        {"vocabulary_size": 260},
        {"query_weight": 7.0},
        {"query_weight": float("nan")},
        {"neighbours": 10, "sample": 11},
        {"pairs": 1, "copies": (1, 2, 4)},
        {"tail_patch": TailPatchConfig(queries=7)},
    ],
)
def test_settings_that_make_no_study_are_refused(wrong):
    """Law: before anything is drawn or trained; bandwidth 0 among them, and what would end in too few rows."""
    with pytest.raises(InputError):
        DensityConfig(**wrong)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sample": 5000}, "sample is more"),
        ({"held_out": 5000}, "held_out is more"),
        ({"neighbours": 5000, "sample": 6000}, "neighbours is more"),
        ({"facts": 102, "prose": 60}, "too few facts"),
    ],
)
def test_settings_that_do_not_suit_the_world_are_refused_before_a_model_is_trained(change, said, tmp_path, monkeypatch):
    """Law: `plan` and `run` say so, whichever seed it concerns, and nothing was measured."""
    monkeypatch.setattr(measure, "measure", lambda *given: pytest.fail("training has begun"))
    config = dataclasses.replace(CONFIG, **change)
    for job in (run.plan, run.run):
        with pytest.raises(InputError, match=said):
            job(config, str(tmp_path / "out"))


def test_a_regression_that_says_nothing_stands_on_the_page_as_a_dash(results):
    """Law: no figure is made of a slope that there is none of."""
    nothing = over_seeds([np.full(3, np.nan)], 0.95).as_dict()
    assert nothing == {"mean": None, "low": None, "high": None, "seeds": []}
    emptied = json.loads(json.dumps(results))
    for name in ("partial", "slope", "within_relation"):
        emptied["pretraining"]["predictors"]["density/text"][name] = nothing
    html = page.render(emptied, page.figures(emptied))
    assert "<td>–</td>" in html and "None" not in html and "nan" not in page.summary(emptied).lower()
