"""Figures over passages: means, intervals, verdicts, and influence beside effectivity."""

import json

import numpy as np
import pytest

from jax_tda.evaluation.bootstrap import BootstrapConfig
from jax_tda.studies.acquisition import sample as samples
from jax_tda.studies.acquisition import tracking
from jax_tda.studies.acquisition.directions import directions, verdict
from jax_tda.studies.acquisition.summary import run_results

DRAWS = BootstrapConfig(resamples=60)
HORIZON = 30


def drawn_up(gains, decays, seed=0):
    """Four passages per schedule with six queries each: E and decay by (schedule, kind), some noise per passage."""
    generator = np.random.default_rng(seed)
    schedules = ("paraphrased", "duplicated", "once", "placebo")
    schedule = np.repeat(schedules, 4)
    passage, kind = np.repeat(np.arange(16), 6), np.tile(np.repeat(["mem", "gen", "hard_gen"], 2), 16)
    noise = 0.01 * generator.normal(size=16)
    time = np.log10(np.maximum(np.arange(HORIZON + 1), 1))
    effect = np.array([gains[schedule[p], k] + noise[p] for p, k in zip(passage, kind, strict=True)])
    slope = np.array([decays[schedule[p], k] + noise[p] for p, k in zip(passage, kind, strict=True)])
    retained = 1.0 - slope[:, None] * time
    retained[0] = np.nan  # A query that gained nothing.
    total = np.where(np.isnan(retained[:, 0]), 0.0, effect)
    encounters = np.stack([effect, effect], axis=1)
    encounters[schedule[passage] == "once", 1] = np.nan
    return samples.Sample(passage, kind, schedule, encounters, retained, total)


def known(by_kind, duplicated=1.0):
    factors = {"paraphrased": 1.0, "duplicated": duplicated, "once": 1.0, "placebo": 0.0}
    return {(s, k): f * value for s, f in factors.items() for k, value in by_kind.items()}


GAINS = known({"mem": 0.6, "gen": 0.4, "hard_gen": 0.2}, duplicated=1.5)
DECAYS = known({"mem": 0.3, "gen": 0.3, "hard_gen": 0.1}, duplicated=1.5)


def test_figures_are_those_that_the_sample_was_drawn_up_with():
    """Law: every E, decay and count of a sample with known constants, within the noise of 0.01 between passages."""
    found = run_results(drawn_up(GAINS, DECAYS), tokens=100, factor=1.5, bootstrap=DRAWS)
    for (schedule, kind), value in GAINS.items():
        one = found["effectivity"][f"{schedule}/{kind}"]
        assert one["value"] == pytest.approx(value, abs=0.03) and one["low"] <= one["value"] <= one["high"]
        assert len(one["by_encounter"]) == (1 if schedule == "once" else 2)
        if schedule != "placebo":
            fit = found["forgetting"][f"{schedule}/{kind}"]
            decay, threshold = DECAYS[schedule, kind], 1 / DECAYS[schedule, kind]
            assert fit["decay"]["value"] == pytest.approx(decay, abs=0.03)
            assert fit["r_squared"]["value"] == pytest.approx(1.0)
            assert fit["log10_threshold_tokens"] == pytest.approx(fit["x_intercept"]["value"] + 2)
            assert fit["x_intercept"]["value"] == pytest.approx(threshold, rel=0.3)
    counts = found["counts"]["paraphrased/mem"]
    assert counts["queries"] == 8 and counts["gains"] == 16 and counts["passages"] == 4
    assert counts["zero_denominators"] == 1 and counts["retained"] == 7
    assert found["counts"]["once/mem"]["gains"] == 8


@pytest.mark.filterwarnings("error")
def test_a_mean_over_nothing_is_written_as_nothing():
    """Law: two passages with one query each, and a factor that keeps neither: JSON without NaN, and no fit."""
    two, shares = np.arange(2), np.array([[1.0, 0.9, 0.8], [1.0, 0.5, 0.4]])
    sample = samples.Sample(two, np.array(["mem"] * 2), np.array(["once"] * 2), shares[:, 1:2], shares, np.ones(2))
    found = run_results(sample, tokens=100, factor=0.1, bootstrap=DRAWS)
    json.dumps(found, allow_nan=False)
    assert found["effectivity"]["once/mem"]["by_encounter"] == [None]
    assert found["forgetting"]["once/mem"]["mean_retained"] == [1.0, None, None]
    assert found["forgetting"]["once/mem"]["intercept"]["value"] is None


def test_passages_are_drawn_whole_and_within_their_schedule():
    """Law: a figure sees all queries of a passage or none, and each schedule as many passages as it has."""
    sample = drawn_up(GAINS, DECAYS)
    seen = []

    def watched(draw):
        rows = draw(np.arange(len(sample.passage)))
        seen.append(np.bincount(rows, minlength=len(sample.passage)).reshape(16, 6))
        return 0.0

    samples.interval(sample, watched, DRAWS)
    assert len(seen) == DRAWS.resamples + 1 and (seen[0] == 1).all()
    for times in seen:
        assert (times == times[:, :1]).all()
        assert times[:, 0].reshape(4, 4).sum(axis=1).tolist() == [4, 4, 4, 4]
    assert any((times[:, 0] != 1).any() for times in seen)


def test_a_draw_without_a_number_is_counted_and_left_out():
    """Law: half of the draws undefined gives an interval of the others; all of them, none."""
    sample, calls = drawn_up(GAINS, DECAYS), iter([1.0, *[np.nan, 1.0] * 30])
    found = samples.interval(sample, lambda draw: next(calls), DRAWS)
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0, "undefined_draws": 30}
    nothing = samples.interval(sample, lambda draw: float("nan"), DRAWS)
    assert nothing["value"] is None and nothing["undefined_draws"] == 60 and verdict(nothing) == "not measured"


def test_each_finding_is_judged_by_its_own_difference():
    """Law: constants drawn up as the paper found them are said to be so; turned round, the other way."""
    small = drawn_up(
        {key: 1.5 * value for key, value in GAINS.items()}, {key: 1.5 * value for key, value in DECAYS.items()}
    )
    runs = {"rows4": drawn_up(GAINS, DECAYS), "rows1": small}
    tokens = {"rows4": 400, "rows1": 100}
    found = {one["claim"]: one for one in directions(runs, tokens, 1.5, DRAWS)}
    assert {one["verdict"] for claim, one in found.items() if "memorisation above semantic" not in claim} == {
        "as in the paper"
    }
    # log10 of 4 times the tokens, and a threshold of 1/a decades where a is 1.5 times as steep.
    difference = found["threshold, log10 tokens, composition: larger batch above smaller"]["value"]
    assert difference > np.log10(4)
    reverse = {one["claim"]: one["verdict"] for one in directions(dict(reversed(runs.items())), tokens, 1.5, DRAWS)}
    assert reverse["effectivity, memorisation: smaller batch above larger"] == "the other way"
    assert verdict({"value": 0.1, "low": -0.1, "high": 0.3}) == "not decided"


def test_seeds_are_laid_one_behind_the_other():
    """Law: passages of the second seed get numbers of their own, and keep queries and schedules."""
    one = drawn_up(GAINS, DECAYS)
    both = samples.joined([one, one])
    assert len(both.schedule) == 32 and both.passage.max() == 31
    np.testing.assert_array_equal(both.passage[96:], one.passage + 16)
    np.testing.assert_array_equal(both.schedule[both.passage], np.tile(one.schedule[one.passage], 2))
    np.testing.assert_array_equal(both.gains[96:], one.gains)


def test_a_query_is_given_the_score_and_rank_of_its_own_passage():
    """Law: by hand; an equal score counts against the own passage, one that is not met has neither."""
    nan = np.nan
    scores = np.array([[[[0.5, 0.9, nan], [0.7, 0.7, nan], [0.1, 0.2, nan]]]])  # One round, one method, three queries.
    passage = np.array([0, 1, 2])
    np.testing.assert_array_equal(tracking.own_scores(scores, passage)[0, :, 0], [0.5, 0.7, nan])
    np.testing.assert_array_equal(tracking.own_reciprocal_ranks(scores, passage)[0, :, 0], [0.5, 0.5, nan])


def test_influence_that_foretells_effectivity_correlates_wholly_and_its_negative_the_other_way():
    """Law: I a rising function of E gives 1 everywhere, over training too; −I gives −1; the placebo takes no part."""
    sample = drawn_up(GAINS, DECAYS)
    gains = np.random.default_rng(0).normal(size=(96, 3))
    sample = samples.Sample(sample.passage, sample.kind, sample.schedule, gains, sample.retained, sample.total)
    met = sample.schedule[sample.passage] != "placebo"
    score = np.where(met[:, None], np.exp(gains), np.nan)
    found = tracking.tracking(sample, np.stack([score, -score]), np.stack([score, score]), met, DRAWS)
    for figure in ("all", "mem", "hard_gen", "first_encounter", "over_training"):
        assert found["trackstar"][figure]["value"] == pytest.approx(1.0)
        assert found["dot"][figure]["value"] == pytest.approx(-1.0)
    assert found["trackstar"]["pairs"] == 3 * 72
    np.testing.assert_allclose(found["trackstar"]["mean_by_encounter"], np.exp(gains[met]).mean(axis=0))
