"""Regimes that jump at a threshold of a continuous response: values in closed form, draw by draw."""

import known
import numpy as np
import pytest
from scipy import stats

from bayesdtr import Decision, LogNormal, Normal, Response, Saturated, Study, at_least, below, between, compare, optimize, when
from bayesdtr.decision.points import panels

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
RNG = np.random.default_rng(1)
SHAPE = (2, 30)
MEAN, SIGMA = RNG.normal(0, 0.2, (*SHAPE, 2)), RNG.uniform(0.5, 1.1, SHAPE)
Y = RNG.normal([0, 3, 1, -2], 0.2, (*SHAPE, 4))
FAMILIES = {
    "normal": (Response("x", Normal(), model=Saturated(over=["a"])), {"mean": MEAN, "sigma": SIGMA}, lambda x: x),
    # The contrast of two options is (1, -1) over root 2, halves of the difference times root 2.
    "log-normal": (Response("x", LogNormal()), {
        "intercept": MEAN.mean(axis=-1), "tau": np.ones(SHAPE), "treatment": (MEAN[..., 1:] - MEAN[..., :1]) / np.sqrt(2), "sigma": SIGMA,
    }, np.log),
}


def made(name, options=("s", "t")):
    """Two stages; the end depends on treatments only, so that a threshold moves values by probabilities alone."""
    response, draws, _ = FAMILIES[name]
    study = Study(
        Decision("a", ["p", "q"]), response, Decision("b", options), Response("y", Normal(), model=Saturated(over=["a", "b"])), utility="y",
        scales={"x": (0.0, 1.0), "y": (0.0, 1.0)},
    )
    frame = known.cohort(study)
    return known.posterior_with(study, {"x": draws, "y": {"mean": Y, "sigma": np.ones(SHAPE)}}, frame.assign(x=np.exp(frame["x"])))


def above(name, cut):
    """Probability of a response of at least `cut`, shape (chain, draw, first option)."""
    return stats.norm.sf((FAMILIES[name][2](cut) - MEAN) / SIGMA[..., None])


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("cut", [0.07, 0.5, 1.3, 2.9])
def test_a_written_threshold(name, cut):
    found = compare(made(name), regimes={
        "step up": {"a": "p", "b": {when(x=at_least(cut)): "s", when(x=below(cut)): "t"}},
        "band": {"a": "q", "b": {when(x=between(cut, cut + 0.4)): "s", when(x=below(cut)): "t", when(x=at_least(cut + 0.4)): "t"}},
    })
    p, values = above(name, cut), found.draws["value"].values
    inside = p[..., 1] - above(name, cut + 0.4)[..., 1]
    np.testing.assert_allclose(values[..., 0], p[..., 0] * Y[..., 0] + (1 - p[..., 0]) * Y[..., 1], atol=1e-9, rtol=0)
    np.testing.assert_allclose(values[..., 1], inside * Y[..., 2] + (1 - inside) * Y[..., 3], atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_threshold_of_the_study_itself(name):
    """Below it there is one option only: the optimal regime's value is a mixture by the probability of a choice."""
    posterior = made(name, {when(x=at_least(0.8)): ["s", "t"], when(x=below(0.8)): ["t"]})
    p, means, values = above(name, 0.8), Y.mean(axis=(0, 1)), []
    for a in (0, 1):
        best = Y[..., 2 * a] if means[2 * a] > means[2 * a + 1] else Y[..., 2 * a + 1]
        values.append(p[..., a] * best + (1 - p[..., a]) * Y[..., 2 * a + 1])
    chosen = values[int(np.argmax([v.mean() for v in values]))]
    np.testing.assert_allclose(optimize(posterior).value_draws, chosen, atol=1e-9, rtol=0)
    rows = {r.label: r for r in compare(posterior).rows}
    assert len(rows) == 4
    assert max(r.value.mean for r in rows.values()) == pytest.approx(chosen.mean(), abs=1e-9)


def test_panels_integrate_what_is_smooth_between_cuts():
    """A density times a polynomial that changes at each cut, some of them beyond the ends."""
    low, high = np.array([-8.0, -9.5]), np.array([8.0, 12.0])
    cuts = (-20.0, -0.3, 1.1, 9.0)
    p = panels(low, high, cuts, 96)
    assert (p.at >= low[:, None]).all() and (p.at <= high[:, None]).all()
    np.testing.assert_allclose(p.weights.sum(axis=1), high - low)
    jumps = np.digitize(p.at, cuts)
    total = (p.weights * stats.norm.pdf(p.at) * (1 + jumps * p.at**2)).sum(axis=1)
    below_ = lambda c: stats.norm.cdf(c) - c * stats.norm.pdf(c)  # noqa: E731  integral of x^2 times the density up to c
    exact = 1 + sum(1 - below_(c) for c in cuts[1:]) + 1
    np.testing.assert_allclose(total, exact, atol=1e-10)
