"""What knowing the parameters is worth, stage by stage, against a literal recursion over histories and closed forms."""

import known
import numpy as np
import pytest
from known import History, Law
from scipy import stats
from test_enumeration import STUDIES, _population

from bayesdtr import Bernoulli, Decision, DecisionError, Normal, Response, Saturated, Study, Utility, fit, optimize, value_of_information
from bayesdtr.gallery import codiacs

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def informed(study: Study, law: Law, first: int, history: History, position: int | None = None):
    """Utility to come under each draw when the parameters become known just before decision `first`."""
    position = len(study.baselines) if position is None else position
    if position == len(study.timeline):
        return 0.0
    node = study.timeline[position]
    if isinstance(node, Decision):
        after = [informed(study, law, first, {**history, node.name: o}, position + 1) for o in known.offered(node, history)]
        if study.decisions.index(node) >= first:
            return np.max(np.broadcast_arrays(*after), axis=0)
        return max(after, key=np.mean)
    w = known.weight(study, node.name)
    return sum(p * (w * v + informed(study, law, first, {**history, node.name: v}, position + 1)) for v, p in law(node.name, history))


@pytest.mark.parametrize("name", STUDIES)
def test_every_stage_against_a_recursion_over_histories(name):
    study = STUDIES[name]()
    draws = known.random_cells(study, 21)
    posterior = known.posterior_with(study, draws, seed=21)
    law = known.cell_law(study, draws, False)
    found = value_of_information(posterior)
    starts = list(known.histories(study, study.decisions[0].name))
    shares = _population(study, posterior, starts)
    for first in range(len(study.decisions)):
        direct = sum(w * informed(study, law, first, h) for w, h in zip(shares, starts, strict=True))
        np.testing.assert_allclose(found.draws[..., first].ravel(), direct, atol=1e-10, rtol=0)
    np.testing.assert_allclose(found.draws[..., -1], optimize(posterior).value_draws, atol=1e-12, rtol=0)
    assert found.decisions == tuple(d.name for d in study.decisions) and found.evpi == pytest.approx(found.gains.sum())
    assert (found.patients >= -1e-12).all() and len(found.patients) == posterior.trajectories.n


@pytest.mark.parametrize(("m", "s"), [(0.1, 0.2), (0.0, 0.5), (-0.6, 0.3)])
def test_two_normal_options_have_the_closed_form(m, s):
    """EVPI of a contrast N(m, s^2): s phi(m / s) - |m| Phi(-|m| / s), on draws at the midpoints of 40,000 quantiles."""
    study = Study(Decision("a", ["p", "q"]), Response("y", Normal(), model=Saturated()), utility=Utility({"y": 1.0}))
    z = stats.norm.ppf((np.arange(40_000) + 0.5) / 40_000)
    mean = np.stack([np.zeros_like(z), m + s * z], axis=-1)[None]
    posterior = known.posterior_with(study, {"y": {"mean": mean, "sigma": np.ones((1, len(z)))}})
    found = value_of_information(posterior)
    # The midpoint rule in the quantile leaves out part of the tails: less than the last quantile's width times its reach.
    assert found.evpi == pytest.approx(s * stats.norm.pdf(m / s) - abs(m) * stats.norm.cdf(-abs(m) / s), abs=5 * s / 40_000)
    if (m, s) == (0.1, 0.2):
        assert found.evpi == pytest.approx(0.0395593, abs=5e-5)


def test_knowing_sooner_is_worth_more():
    posterior = fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=20_000)
    found = value_of_information(posterior)
    assert (found.gains > -4 * found.gain_errors).all() and found.evpi > 4 * found.evpi_error
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100 and "before first" in lines[1] and "EVPI" in str(found)


def test_trees_that_are_too_large_are_refused_where_the_tree_is_asked_for():
    timeline = []
    for k in range(7):
        timeline += [Decision(f"a{k}", ["p", "q"]), Response(f"y{k}", Bernoulli(), model=Saturated(over=[f"a{k}"]))]
    study = Study(*timeline, utility=Utility({f"y{k}": 1.0 for k in range(7)}))
    posterior = known.posterior_with(study, known.random_cells(study, 1))
    with pytest.raises(DecisionError, match="value_of_information: the tree of histories has 8192 leaves per patient"):
        value_of_information(posterior, method="tree")
    with pytest.raises(DecisionError, match=r"no method 'trees'.*did you mean 'tree'"):
        value_of_information(posterior, method="trees")
    with pytest.raises(DecisionError, match="takes a Posterior, got str"):
        value_of_information("posterior")
