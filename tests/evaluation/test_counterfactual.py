"""Laws of the judges by retraining: each against its definition written out, and against two libraries."""

import itertools

import numpy as np
import pytest

from jax_tda.core.errors import InputError
from jax_tda.evaluation import counterfactual
from tests import missing

Q, D, M = 5, 23, 17


@pytest.fixture(scope="module")
def arrays():
    """Scores, halves and what was measured; some scores and measurements are equal."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(Q, D)).astype(np.float32)
    scores[1] = np.round(scores[1])
    kept = np.stack([random.permutation(D) < D // 2 for _ in range(M)])
    measured = (scores @ kept.T + 2 * random.normal(size=(Q, M))).T.astype(np.float32)
    measured[:, 2] = np.round(measured[:, 2])
    return scores, kept, measured


def dumb_ranks(values):
    """1 + how many are less + half of how many others are equal."""
    return [1 + sum(o < v for o in values) + (sum(o == v for o in values) - 1) / 2 for v in values]


def dumb_correlation(left, right):
    a, b = (np.array(side) - np.mean(side) for side in (left, right))
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def test_lds_is_its_definition_written_out(arrays):
    """Law: Spearman over members of the summed scores of what is kept and the measured value, query by query."""
    scores, kept, measured = arrays
    expected = []
    for query in range(Q):
        predicted = [sum(float(scores[query, d]) for d in range(D) if kept[m, d]) for m in range(M)]
        expected.append(dumb_correlation(dumb_ranks(np.round(predicted, 9)), dumb_ranks(measured[:, query])))
    np.testing.assert_allclose(counterfactual.lds(scores, kept, measured), expected, rtol=1e-12)


def test_lds_is_what_dattri_computes(arrays):
    """Law: its metric on the same arrays, in its orientation, to the digits of its float32."""
    torch = missing.need("torch")
    metrics = missing.need("dattri.metric.metrics")
    scores, kept, measured = arrays
    truth = torch.tensor(measured), torch.tensor(np.stack([np.flatnonzero(row) for row in kept]))
    found = metrics.lds(torch.tensor(scores.T), truth)[0].numpy()
    np.testing.assert_allclose(counterfactual.lds(scores, kept, measured), found, rtol=1e-5)


@pytest.mark.filterwarnings("ignore")  # Of what it imports.
def test_lds_is_what_quanda_computes(arrays):
    """Law: its metric, given the subsets and the members' outputs instead of models."""
    torch = missing.need("torch")
    linear = missing.need("quanda.metrics.ground_truth.linear_datamodeling")
    scores, kept, measured = arrays
    subsets = [np.flatnonzero(row).tolist() for row in kept]
    metric = linear.LinearDatamodelingMetric(
        model=torch.nn.Linear(1, 1), train_dataset=list(range(D)), m=M, subset_ids=subsets, checkpoints=["-"],
        subset_ckpt_filenames=["-"] * M, checkpoints_load_func=lambda model, path: None,
    )  # fmt: skip
    outputs = {m: torch.tensor(measured[m])[:, None] for m in range(M)}
    metric.update(torch.tensor(scores), torch.zeros(Q, dtype=torch.int64), torch.zeros(Q), subset_logits=outputs)
    np.testing.assert_allclose(
        counterfactual.lds(scores, kept, measured), metric._per_sample_scores().numpy(), rtol=1e-4, atol=1e-6
    )


def test_loo_is_pearson_and_what_dattri_computes(arrays):
    """Law: with the fall of log p as truth, a score that raises it correlates positively."""
    scores, _, _ = arrays
    fall = 3 * scores.T + np.random.default_rng(1).normal(size=(D, Q))
    found = counterfactual.loo(scores, fall)
    expected = [dumb_correlation(scores[q], fall[:, q]) for q in range(Q)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert min(found) > 0.5
    torch = missing.need("torch")
    metrics = missing.need("dattri.metric.metrics")
    theirs = metrics.loo_corr(torch.tensor(scores.T), (torch.tensor(fall), torch.arange(D)))[0].numpy()
    np.testing.assert_allclose(found, theirs, rtol=1e-5)


def test_a_mislabelled_examples_chance_to_stand_above_another_is_counted_by_hand():
    """Law: over all pairs, a tie counts half."""
    random = np.random.default_rng(2)
    scores, noisy = np.round(random.normal(size=40), 1), random.random(40) < 0.3
    pairs = list(itertools.product(scores[noisy], scores[~noisy]))
    expected = np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
    assert counterfactual.mislabel_auc(scores, noisy) == pytest.approx(expected, abs=1e-12)
    torch = missing.need("torch")
    metrics = missing.need("dattri.metric.metrics")
    unlike = random.permutation(40) / 7.0  # dattri breaks ties by order.
    theirs = float(metrics.mislabel_detection_auc(torch.tensor(unlike), torch.tensor(noisy))[0])
    assert counterfactual.mislabel_auc(unlike, noisy) == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("noisy", [np.zeros(4, bool), np.ones(4, bool)])
def test_mislabelled_examples_need_others(noisy):
    """Law: without some of each there is no area."""
    with pytest.raises(InputError, match="cannot be told"):
        counterfactual.mislabel_auc(np.arange(4.0), noisy)


def test_what_does_not_vary_is_not_predicted_and_does_not_predict():
    """Law: a constant truth has no correlation, a constant prediction one of 0, a query that is not scored none."""
    truth = np.array([[1.0, 2, 3], [1, 1, 1], [1, 2, 3], [1, 2, 3]])
    predicted = np.array([[3.0, 2, 1], [1, 2, 3], [2, 2, 2], [np.nan, 1, 2]])
    assert counterfactual.spearman(predicted, truth) == [pytest.approx(-1), None, 0.0, None]


def test_the_ceiling_is_what_a_method_that_knows_every_mean_reaches():
    """Law: √(1 − σ²/s²) is the correlation of the means over seeds with one seed's values, on numbers drawn for it."""
    random = np.random.default_rng(3)
    means = random.normal(size=(20_000, 2)) * [1.0, 0.3]
    one_seed = means + 0.5 * random.normal(size=means.shape)
    repeats = 7 + 0.5 * random.normal(size=(20_000, 2))
    found = counterfactual.reliability(repeats, one_seed)
    np.testing.assert_allclose(found, counterfactual.pearson(means.T, one_seed.T), atol=0.02)
    assert counterfactual.reliability(10 * repeats, one_seed) == [0.0, 0.0]
