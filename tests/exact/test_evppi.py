"""What knowing some of the parameters is worth, against closed forms and a literal recursion over histories."""

import known
import numpy as np
import pytest
from known import History, Law
from scipy import stats
from scipy.stats import qmc
from test_enumeration import STUDIES, _population
from test_information import informed

from bayesdtr import Bernoulli, Decision, DecisionError, Normal, Response, Saturated, Study, Utility, evppi, evsi, fit, value_of_information
from bayesdtr.decision.information.smoother import Smoother
from bayesdtr.gallery import codiacs

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")


def unit_loss(m: float, s: float) -> float:
    """``E max(X, 0) - max(m, 0)`` of ``X ~ N(m, s^2)``."""
    return s * stats.norm.pdf(m / s) - abs(m) * stats.norm.cdf(-abs(m) / s)


def normals(power: int, width: int) -> np.ndarray:
    """Points that fill a Normal distribution evenly, ``(2 ** power, width)``, in an order that does not matter."""
    z = stats.norm.ppf(np.clip(qmc.Sobol(width, seed=7).random_base2(power), 1e-9, 1 - 1e-9))
    return np.random.default_rng(1).permutation(z)


# ---- whole responses ---------------------------------------------------------------------------------


def mixed(study: Study, draws, block: set[str]) -> Law:
    """Responses of a block draw by draw, the others averaged."""
    apart, together = known.cell_law(study, draws, False), known.cell_law(study, draws, True)
    return lambda name, history: (apart if name in block else together)(name, history)


@pytest.mark.parametrize("name", STUDIES)
def test_whole_responses_against_a_recursion_over_histories(name):
    study = STUDIES[name]()
    draws = known.random_cells(study, 5)
    posterior = known.posterior_with(study, draws, seed=5)
    size = posterior.size
    names = [r.name for r in study.responses]
    blocks = {n: [n] for n in names} | {"all but the last": names[:-1]}
    found = evppi(posterior, blocks)
    starts = list(known.histories(study, study.decisions[0].name))
    shares = _population(study, posterior, starts)
    average = known.cell_law(study, draws, True)

    def settled(decision, history: History):
        def worth(option):
            after = {**history, decision.name: option}
            return float(np.mean(informed(study, average, len(study.decisions), after, study.names.index(decision.name) + 1)))
        return max(known.offered(decision, history), key=worth)

    for k, block in enumerate(blocks.values()):
        law = mixed(study, draws, set(block))
        direct = sum(w * (informed(study, law, 0, h) - known.value_of(study, settled, law, h)) for w, h in zip(shares, starts, strict=True))
        np.testing.assert_allclose(found.draws[..., k].ravel(), np.broadcast_to(direct, size), atol=1e-10, rtol=0)
    assert (found.draws >= -1e-12).all() and np.isnan(found.cautious).all()


@pytest.mark.parametrize("name", STUDIES)
def test_knowing_all_is_worth_the_evpi(name):
    study = STUDIES[name]()
    posterior = known.posterior_with(study, known.random_cells(study, 6, per_chain=40), seed=6)
    whole = value_of_information(posterior)
    found = evppi(posterior, {"all": [r.name for r in study.responses]})
    np.testing.assert_allclose(found.draws[..., 0], whole.draws[..., 0] - whole.draws[..., -1], atol=1e-12, rtol=0)
    np.testing.assert_allclose(found.patients[:, 0], whole.patients, atol=1e-12, rtol=0)
    assert found.evpi == pytest.approx(whole.evpi, abs=1e-12) and found.values[0] == pytest.approx(found.evpi, abs=1e-12)


TWO = Study(Decision("a", ["p", "q"]), Response("y", Normal(), model=Saturated()), Response("z", Normal(), model=Saturated(over=["a"])),
            utility=Utility({"y": 1.0, "z": 1.0}))


def sum_of_two(m: tuple[float, float], s: tuple[float, float], power: int = 15):
    """Options whose contrast is the sum of two independent Normal ones."""
    z = normals(power, 2)
    cells = [np.stack([np.zeros(len(z)), m[j] + s[j] * z[:, j]], axis=-1)[None] for j in range(2)]
    one = np.ones((1, len(z)))
    return known.posterior_with(TWO, {"y": {"mean": cells[0], "sigma": one}, "z": {"mean": cells[1], "sigma": one}})


@pytest.mark.parametrize(("m", "s"), [((0.1, 0.0), (0.2, 0.3)), ((0.3, -0.4), (0.5, 0.1))])
def test_a_contrast_of_two_independent_parts_has_the_closed_form(m, s):
    found = evppi(sum_of_two(m, s), {"y": "y", "z": "z", "both": ["y", "z"]})
    truth = [unit_loss(sum(m), s[0]), unit_loss(sum(m), s[1]), unit_loss(sum(m), float(np.hypot(*s)))]
    np.testing.assert_allclose(found.values, truth, atol=2e-4)
    assert found.evpi == pytest.approx(truth[2], abs=2e-4)
    assert (found.values[:2] < found.values[2]).all()


def test_one_contrast_alone():
    """s phi(m / s) - |m| Phi(-|m| / s) with m = .1 and s = .2."""
    found = evppi(sum_of_two((0.1, 0.0), (0.2, 1e-9)), "y")
    assert found.values[0] == pytest.approx(0.0395593, abs=1e-4)


# ---- parts of responses: regression ---------------------------------------------------------------------


ONE = Study(Decision("a", ["p", "q"]), Response("y", Normal(), model=Saturated()), utility=Utility({"y": 1.0}))


def two_means(m: float, sp: float, sq: float, power: int = 12):
    z = normals(power, 3)
    mean = np.stack([sp * z[:, 0], m + sq * z[:, 1]], axis=-1)[None]
    return known.posterior_with(ONE, {"y": {"mean": mean, "sigma": np.exp(0.3 * z[:, 2])[None]}})


def test_a_mean_of_two_has_the_closed_form_by_regression():
    m, sp, sq = 0.1, 0.3, 0.2
    found = evppi(two_means(m, sp, sq), {"p": "y::mean[p]", "q": "y::mean[q]", "means": "y::mean", "y": "y"})
    truth = np.array([unit_loss(m, sp), unit_loss(m, sq), unit_loss(m, np.hypot(sp, sq)), unit_loss(m, np.hypot(sp, sq))])
    np.testing.assert_allclose(found.values, truth, atol=0.002)  # fits of 4,096 draws leave .001; the points themselves less
    assert (np.abs(found.at_least - truth)[:3] < 4 * found.at_least_errors[:3]).all() and np.isnan(found.at_least[3])
    frame = found.frame()
    assert list(frame["method"]) == ["regression"] * 3 + ["per draw"] and frame["share"].iloc[3] == pytest.approx(1)


def test_knowing_what_does_not_matter_is_worth_nothing():
    """The residual SD says nothing about the means: regression may find a trace, the cautious value none."""
    found = evppi(two_means(0.0, 0.3, 0.3), "y::sigma")
    assert 0 <= found.values[0] < 0.05 * found.evpi
    assert found.at_least[0] < 4 * found.at_least_errors[0] + 1e-12
    assert evppi(sum_of_two((0.1, 0.0), (0.2, 0.3), 12), {"constant": "y::mean[p]"}).values[0] == 0


def test_a_regression_is_too_high_on_average_and_its_cautious_twin_is_not():
    """Thirty useless columns and 400 draws: the fit claims something, the value in draws it has not seen does not."""
    rng = np.random.default_rng(2)
    high, low, error = [], [], []
    for _ in range(20):
        values, columns = rng.normal(size=(400, 2)), rng.normal(size=(400, 30))
        smoother = Smoother.of(columns)
        fitted, crossed = smoother.fitted(values), smoother.crossed(values)
        best = fitted.mean(axis=0).argmax()
        high.append((fitted.max(axis=1) - fitted[:, best]).mean())
        gain = values[np.arange(400), crossed.argmax(axis=1)] - values[:, best]
        low.append(gain.mean())
        error.append(gain.std() / np.sqrt(400))
    assert np.mean(high) > 0.005
    assert np.mean(low) < 4 * np.sqrt(np.mean(np.square(error)) / 20)


def test_a_smoother_keeps_means_and_recovers_curves():
    z = normals(12, 1)
    truth = np.stack([np.sin(z[:, 0]), np.abs(z[:, 0])], axis=1)
    values = truth + np.random.default_rng(3).normal(scale=0.5, size=truth.shape)
    smoother = Smoother.of(z)
    for fitted in (smoother.fitted(values), smoother.crossed(values)):
        assert np.sqrt(np.mean((fitted - truth) ** 2)) < 0.06
    np.testing.assert_allclose(smoother.fitted(values).mean(axis=0), values.mean(axis=0), atol=1e-12)
    p = np.random.default_rng(4).dirichlet(np.ones(3), size=len(z))
    np.testing.assert_allclose(smoother.fitted(p).sum(axis=1), 1, atol=1e-10)


# ---- studies -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_stages():
    return fit(codiacs.study, codiacs.patients(), seed=1, engine="exact", draws=4000)


def test_more_parameters_are_worth_more(two_stages):
    blocks = {"one": "bdi_drop::mean[therapy, 1, stay]", "means": "bdi_drop::mean", "response": "bdi_drop", "both": ["improved", "bdi_drop"]}
    found = evppi(two_stages, blocks)
    assert (np.diff(found.values) > -4 * found.errors[1:]).all() and (found.values >= 0).all()
    assert (found.values <= found.evpi + 4 * found.evpi_error).all()
    assert abs(found.values[1] - found.values[2]) < 0.02  # the residual SD of the last response decides nothing
    lines = str(found).splitlines()
    assert max(map(len, lines)) <= 100 and lines[0].startswith("parameters known") and "at least" in lines[0]


def test_a_class_of_regimes_is_worth_no_more_than_all_of_them(two_stages):
    """With a binary tailoring variable the embedded regimes are all there are; two of them are fewer."""
    every, embedded = evppi(two_stages), evppi(two_stages, regimes="embedded")
    np.testing.assert_allclose(embedded.values, every.values, atol=1e-10)
    some = {"usual": {"first": "medication", "second": "stay"}, "other": {"first": "therapy", "second": "switch"}}
    two = evppi(two_stages, {"bdi_drop": "bdi_drop", "means": "bdi_drop::mean"}, regimes=some)
    assert two.evpi < every.evpi and (two.values <= two.evpi + 1e-9).all() and two.patients is None
    assert "one of 2 regimes ('usual', 'other') for everybody" in str(two).replace("\n    ", " ")


def test_what_cannot_be_is_refused(two_stages):
    with pytest.raises(DecisionError, match="takes a Posterior, got str"):
        evppi("posterior")
    with pytest.raises(DecisionError, match=r"no response or posterior variable 'improve'; .*did you mean 'improved'"):
        evppi(two_stages, "improve")
    with pytest.raises(DecisionError, match="has no element 'therapy, 1'"):
        evppi(two_stages, "bdi_drop::mean[therapy, 1]")
    with pytest.raises(DecisionError, match="names an element by its label"):
        evppi(two_stages, "bdi_drop::sigma[1]")
    with pytest.raises(DecisionError, match="block 'b' holds names"):
        evppi(two_stages, {"b": []})
    with pytest.raises(DecisionError, match="regimes is 'embedded' or a mapping"):
        evppi(two_stages, regimes="all")


def large_study() -> Study:
    timeline = []
    for k in range(7):
        timeline += [Decision(f"a{k}", ["p", "q"]), Response(f"y{k}", Bernoulli(), model=Saturated(over=[f"a{k}"]))]
    return Study(*timeline, utility=Utility({f"y{k}": 1.0 for k in range(7)}))


def test_large_problems_choose_among_given_regimes():
    study = large_study()
    posterior = known.posterior_with(study, known.random_cells(study, 1, per_chain=200))
    with pytest.raises(DecisionError, match=r"8192 leaves per patient .* give regimes='embedded'"):
        evppi(posterior)
    pair = {o: {f"a{k}": o for k in range(7)} for o in "pq"}
    found = evppi(posterior, {"y0": "y0", "all": [f"y{k}" for k in range(7)]}, regimes=pair)
    assert 0 <= found.values[0] <= found.values[1] + 4 * found.errors[1] and found.values[1] == pytest.approx(found.evpi)


@pytest.mark.slow
def test_responses_that_share_parameters_are_known_together():
    study = Study(Decision("a", ["p", "q"]), Response("u", Bernoulli()), Decision("b", ["p", "q"]), Response("v", Bernoulli()),
                  utility=Utility({"u": 1.0, "v": 1.0}), pool_stages=["u", "v"])
    posterior = fit(study, known.cohort(study, 60), seed=1, draws=100, warmup=200, chains=2, progress=False)
    assert evppi(posterior, {"all": ["u", "v"]}).values[0] == pytest.approx(value_of_information(posterior).evpi, abs=1e-12)
    for block in ("u", "u::treatment"):
        with pytest.raises(DecisionError, match="Responses u, v share parameters"):
            evppi(posterior, block)
    some = evppi(posterior, {"u": "u", "all": ["u", "v"]}, regimes="embedded")
    assert some.values[0] <= some.values[1] and some.values[1] == pytest.approx(some.evpi)
    with pytest.raises(DecisionError, match="share parameters"):
        evsi(posterior, [10], seed=1)
    trial = evsi(posterior, [10, 1000], seed=1, regimes="embedded")
    assert trial.values[0] < trial.values[1] <= trial.evpi + 4 * trial.evpi_error
