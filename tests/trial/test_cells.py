"""The exact engine of looks: against sums over paths, reference numbers, direct simulation and the public analysis."""

import numpy as np
import pandas as pd
import pytest
from known import COUNTS, SMART, chosen, histories, offered, smart_frame

import bayesdtr as dtr
from bayesdtr.errors import TrialError
from bayesdtr.study import Baseline, Bernoulli, Decision, Hierarchical, Normal, NormalInverseGamma, Prior, Response, Saturated, Study, Utility, when
from bayesdtr.study.rules import embedded_regimes
from bayesdtr.trial.analysis import Analysis, Betas, CellsAnalyst, Matched, Students
from bayesdtr.trial.design import TrialDesign
from bayesdtr.trial.observed import Observed

NIG = NormalInverseGamma(1.0, 0.5, 2.0, 3.0)
EXITS = Study(
    Baseline("sex", levels=["f", "m"]), Decision("a1", ["x", "y", "z"]), Response("r", Bernoulli(), model=Saturated()),
    Decision("a2", {when(r=0): ["p", "q"], when(r=1): []}), Response("s", Bernoulli(), model=Saturated()),
    utility=Utility({"r": 0.5, "s": 1.0}, discount=0.9, costs={"a1": {"x": 0.05}, "a2": {"q": 0.1}}),
)
"""Two weighted responses, costs, a discount, responders leave after the first stage; cells by sex."""
MIXED = Study(
    Decision("a1", ["x", "y"]), Response("r", Bernoulli(), model=Saturated()), Response("t", Bernoulli(), model=Saturated(over=["a1"])),
    Decision("a2", {when(r=0): ["p", "q"], when(r=1): ["p"]}), Response("y", Normal(), model=Saturated(over=["a2", "r"], conjugate=NIG)),
    utility=Utility({"y": -0.7, ("r", "t"): {(0, 0): 0.0, (0, 1): -1.0, (1, 0): 2.0, (1, 1): 0.5}}),
)
"""A table over two responses, a Normal response whose cells several histories share, smaller is better."""


def gain(study, name, history):
    """What a response earns, costs taken off, written out for the studies above."""
    if study is EXITS:
        cost = {("r", "x"): 0.05, ("s", "q"): 0.1}
        option = history["a1" if name == "r" else "a2"]
        return (0.5 * history["r"] if name == "r" else 0.9 * history["s"]) - cost.get((name, option), 0.0) * (0.9 if name == "s" else 1.0)
    if study is MIXED:
        table = {(0, 0): 0.0, (0, 1): -1.0, (1, 0): 2.0, (1, 1): 0.5}
        return {"r": 0.0, "t": table[history["r"], history["t"]] if name == "t" else 0.0, "y": -0.7 * history.get("y", 0.0)}[name]
    return history["success"] if name == "success" else 0.0


def value(study, law, choose, history, position=None):
    """Expected utility from a history on, by summing over every path."""
    position = len(study.baselines) if position is None else position
    if position == len(study.timeline):
        return 0.0
    node = study.timeline[position]
    if isinstance(node, Decision):
        options = offered(node, history)
        return choose(node, history, {o: value(study, law, choose, {**history, node.name: o}, position + 1) for o in options}) if options else 0.0
    number = law(node.name, history)
    outcomes = [(1, number), (0, 1 - number)] if node.support else [(number, 1.0)]
    return sum(p * (gain(study, node.name, {**history, node.name: v}) + value(study, law, choose, {**history, node.name: v}, position + 1))
               for v, p in outcomes)


def following(rules):
    return lambda node, history, values: values[chosen(rules, node, history)]


def best(node, history, values):
    del node, history
    return np.max(np.broadcast_arrays(*values.values()), axis=0)


def cells_of(analyst, tables, trial):
    """A law that looks cells up by their labels in arrays ``[trial, cell, ...]``."""
    def law(name, history):
        cells = analyst.models[name].cells
        return tables[name][trial, cells.labels.index(", ".join(str(history[n]) for n in cells.names))]

    return law


def simulated(study, trials, patients, seed=1, enrolled=None):
    """Trials with arbitrary data that fit a study; the last patients' later responses are not known yet."""
    rng = np.random.default_rng(seed)
    columns = {n: np.full((trials, patients), -1 if not isinstance(study[n], Response) else np.nan) for n in study.names}
    for t in range(trials):
        for i in range(patients if enrolled is None else enrolled):
            history = {}
            for j, node in enumerate(study.timeline):
                if isinstance(node, Decision):
                    options = offered(node, history)
                    if not options:
                        break
                    history[node.name] = str(rng.choice(options))
                elif isinstance(node, Baseline):
                    history[node.name] = str(rng.choice(node.levels))
                else:
                    if i >= patients - 4 and j > 2:
                        break
                    chance = 0.3 + 0.3 * (history[study.decisions[0].name] == "y")
                    history[node.name] = int(rng.random() < chance) if node.support else rng.normal(2, 1.5)
                columns[node.name][t, i] = study.code(node.name, history[node.name])
    held = {n: c if isinstance(study[n], Response) else c.astype(int) for n, c in columns.items()}
    there = np.zeros((trials, patients), dtype=bool)
    there[:, :enrolled] = True
    return Observed(held, None, np.where(there, 0, -1), there)


def observed(study, frame):
    """A data frame as one trial."""
    columns = {n: np.array([[study.code(n, v) for v in frame[n]]]) for n in study.names}
    columns = {n: c if isinstance(study[n], Response) else c.astype(int) for n, c in columns.items()}
    return Observed(columns, None, np.zeros((1, len(frame)), dtype=int), np.ones((1, len(frame)), dtype=bool))


def looked(study, data, draws=64):
    analyst = CellsAnalyst(study, Analysis(draws=draws))
    return analyst, analyst.look(data, np.arange(data.size), 0)


# ---- sums over paths --------------------------------------------------------------------------------


def roots(study, data, trial):
    """Baseline histories with the share of each among the patients enrolled."""
    found = []
    for history in histories(study, study.decisions[0].name):
        codes = [data.columns[n][trial][data.enrolled[trial]] == study.code(n, v) for n, v in history.items()]
        found.append((history, np.mean(np.all(codes, axis=0)) if codes else 1.0))
    return found


@pytest.mark.parametrize("study", [EXITS, MIXED, SMART], ids=["exits", "mixed", "smart"])
def test_regimes_are_sums_over_paths(study):
    data = simulated(study, 3, 40)
    analyst, posterior = looked(study, data)
    values = posterior.regimes()
    regimes = embedded_regimes(study)
    assert values.shape == (3, len(regimes))
    for trial in range(3):
        for r, rules in enumerate(regimes):
            laws = [cells_of(analyst, tables, trial) for tables in (posterior.theta, posterior.means)]
            draws, mean = (sum(w * value(study, law, following(rules), h) for h, w in roots(study, data, trial)) for law in laws)
            assert values.mean()[trial, r] == pytest.approx(float(mean[0]), abs=1e-12)
            assert np.corrcoef(values.draws[trial, :, r], draws)[0, 1] > 1 - 1e-12  # moved to exact moments, otherwise the same
    assert values.draws.mean(axis=1) == pytest.approx(values.mean(), abs=1e-12)
    assert values.draws.std(axis=1, ddof=1) == pytest.approx(values.sd(), abs=1e-12)


@pytest.mark.parametrize("study", [EXITS, MIXED, SMART], ids=["exits", "mixed", "smart"])
@pytest.mark.parametrize("stage", [0, 1])
def test_options_go_on_by_each_draws_own_optimum(study, stage):
    data = simulated(study, 2, 40)
    analyst, posterior = looked(study, data)
    decision = study.decisions[stage]
    rows = [(t, h) for t in range(2) for h in histories(study, decision.name) if offered(decision, h)]
    columns = {n: np.array([study.code(n, h[n]) for _, h in rows]) for n in rows[0][1]}
    trial = np.array([t for t, _ in rows])
    feasible = np.array([[o in offered(decision, h) for o in decision.options] for _, h in rows])
    values = posterior.options(stage, trial, columns, feasible)
    position = study.names.index(decision.name) + 1
    for m, (t, h) in enumerate(rows):
        for o, option in enumerate(decision.options):
            if not feasible[m, o]:
                assert values.mean()[m, o] == -np.inf and values.p_best()[0][m, o] == 0
                continue
            after = {**h, decision.name: option}
            if stage == len(study.decisions) - 1:
                mean = value(study, cells_of(analyst, posterior.means, t), best, after, position)
                assert values.mean()[m, o] == pytest.approx(float(mean[0]), abs=1e-12)
            else:
                exact = value(study, cells_of(analyst, posterior.theta, t), best, after, position)
                assert values.draws[m, :, o] == pytest.approx(exact, abs=1e-12)


def test_the_last_decision_is_compared_by_quadrature_where_a_single_cell_counts():
    data = simulated(SMART, 2, 60)
    _, posterior = looked(SMART, data)
    columns = {"a1": np.array([0, 1, 0]), "responded": np.zeros(3)}
    values = posterior.options(1, np.array([0, 0, 1]), columns, np.tile([True, True, False], (3, 1)))
    assert isinstance(values, Betas)
    _, posterior = looked(MIXED, simulated(MIXED, 2, 60))
    values = posterior.options(1, np.array([0, 1]), {"a1": np.zeros(2, dtype=int), "r": np.zeros(2), "t": np.ones(2)}, np.ones((2, 2), dtype=bool))
    assert isinstance(values, Students)
    # p and q differ by a scaled Student t; smaller is better.
    cells = posterior.cells["y"]
    labels = CellsAnalyst(MIXED, Analysis()).models["y"].cells.labels
    p, q = labels.index("0, p") if "0, p" in labels else labels.index("p, 0"), labels.index("0, q") if "0, q" in labels else labels.index("q, 0")
    from scipy.stats import t as student

    gap = cells.center[:, q] - cells.center[:, p]
    sd = np.sqrt(cells.rate / cells.shape * (1 / cells.strength[:, p] + 1 / cells.strength[:, q]))
    assert values.p_best()[0][:, 0] == pytest.approx(student.cdf(gap / sd, 2 * cells.shape), abs=1e-12)


# ---- exact moments and probabilities -------------------------------------------------------------------


@pytest.mark.parametrize("study", [EXITS, MIXED], ids=["exits", "mixed"])
def test_moments_and_probabilities_agree_with_direct_simulation(study):
    data = simulated(study, 1, 50, seed=4)
    analyst, posterior = looked(study, data, draws=4096)
    values, rng, size = posterior.regimes(), np.random.default_rng(8), 200_000
    tables = {}
    for name, cells in posterior.cells.items():
        if hasattr(cells, "a"):
            tables[name] = rng.beta(cells.a[..., None], cells.b[..., None], size=(*cells.a.shape, size))
        else:
            sigma = np.sqrt(cells.rate / rng.gamma(cells.shape, size=(size, 1))).T
            tables[name] = cells.center[..., None] + sigma * rng.standard_normal((*cells.center.shape, size)) / np.sqrt(cells.strength)[..., None]
    law = cells_of(analyst, tables, 0)
    drawn = np.array([sum(w * value(study, law, following(r), h) for h, w in roots(study, data, 0)) for r in embedded_regimes(study)])
    sd = drawn.std(axis=1)
    assert (np.abs(values.mean()[0] - drawn.mean(axis=1)) < 4 * sd / np.sqrt(size)).all()
    # An SD of so many draws is off by 1 / sqrt(2 size) of itself, somewhat more with heavier tails; points carry theirs where cells are shared.
    assert values.sd()[0] == pytest.approx(sd, rel=0.008 if study is EXITS else 0.02)
    p, error = values.p_best()
    found = (drawn == drawn.max(axis=0)).mean(axis=1)
    assert (np.abs(p[0] - found) < 4 * np.sqrt(error[0] ** 2 + found * (1 - found) / size) + 0.002).all()


def test_reference_numbers_of_the_binary_smart():
    _, posterior = looked(SMART, observed(SMART, smart_frame()), draws=4096)
    values = posterior.regimes()
    assert values.mean()[0] == pytest.approx([0.23499396, 0.20949744, 0.54246795, 0.57436899], abs=1e-8)
    assert values.sd()[0] == pytest.approx([0.04473282, 0.04012072, 0.05626211, 0.05169049], abs=1e-8)
    # The regimes that start with -1 differ in one comparison, which quadrature answers.
    one = Betas(np.array([[21.0, 28.0]]), np.array([[15.0, 16.0]])).p_best()[0][0]
    assert COUNTS["-1", 0, "+1"] == (34, 20) and COUNTS["-1", 0, "-1"] == (42, 27)
    p, error = values.p_best()
    assert p[0] == pytest.approx([0, 0, *one], abs=0.004) and (error < 0.004).all()
    assert one == pytest.approx([0.3132, 0.6868], abs=0.001)


def test_the_public_analysis_says_the_same():
    frame = smart_frame().groupby(["a1", "responded", "a2"], sort=False).sample(frac=0.06, random_state=5).reset_index(drop=True)
    posterior = dtr.fit(SMART, frame, engine="exact", seed=3, draws=4000, chains=2)
    size = posterior.size
    table = dtr.compare(posterior).frame().set_index("rules").loc[[r.label for r in embedded_regimes(SMART)]]
    _, look = looked(SMART, observed(SMART, frame), draws=1024)
    values = look.regimes()
    assert (np.abs(table["mean"].to_numpy() - values.mean()[0]) < 4 * values.sd()[0] / np.sqrt(size)).all()
    p, error = (x[0] for x in values.p_best())
    assert (np.abs(table["p_best_regime"].to_numpy() - p) < 4 * np.sqrt(error**2 + p * (1 - p) / size) + 1e-3).all()
    recommended = dtr.optimize(posterior).recommend(pd.DataFrame(index=[0]), every_option=True)
    starts, error = (x[0] for x in look.options(0, np.array([0]), {}, np.ones((1, 2), dtype=bool)).p_best())
    said = recommended.set_index("option")["p_starts_best"][["+1", "-1"]].to_numpy()
    assert 0.01 < starts[0] < 0.99
    assert (np.abs(said - starts) < 4 * np.sqrt(error**2 + starts * (1 - starts) / size) + 1e-3).all()


# ---- one stage, averages, no data ------------------------------------------------------------------------


ARMS = Study(Decision("arm", ["a", "b", "c"]), Response("event", Bernoulli(), model=Saturated()), utility=Utility({"event": -1.0}))


def test_one_stage_is_quadrature_throughout():
    data = simulated(ARMS, 4, 30)
    _, posterior = looked(ARMS, data)
    yes = np.array([[((data.columns["arm"][t] == k) & (data.columns["event"][t] == 1)).sum() for k in range(3)] for t in range(4)])
    n = np.array([[((data.columns["arm"][t] == k) & ~np.isnan(data.columns["event"][t])).sum() for k in range(3)] for t in range(4)])
    exact = Betas(1 + yes, 1 + n - yes, -1.0)
    every = np.ones((4, 3), dtype=bool)
    for values in (posterior.regimes(), posterior.options(0, np.arange(4), {}, every), posterior.marginal(0, every[0])):
        assert isinstance(values, Betas)
        assert np.array_equal(values.mean(), exact.mean())
        assert np.array_equal(values.p_best()[0], exact.p_best()[0])
    dropped = posterior.options(0, np.arange(4), {}, np.array([[True, False, True]] * 4))
    assert dropped.p_best()[0] == pytest.approx(exact.p_best(np.array([[True, False, True]] * 4))[0], abs=1e-12)


def test_nothing_known_yet_is_the_prior():
    study = Study(Decision("arm", ["a", "b"]), Response("y", Normal(), model=Saturated(conjugate=NIG)), utility="y")
    _, posterior = looked(study, simulated(study, 2, 10, enrolled=0))
    values = posterior.regimes()
    assert isinstance(values, Students)
    assert values.mean().tolist() == [[1.0, 1.0]] * 2 and values.p_best()[0].tolist() == [[0.5, 0.5]] * 2
    single = Response("event", Bernoulli(), model=Saturated(), priors={"probability.b": Prior("Beta", concentration1=4, concentration0=1)})
    study = Study(Decision("arm", ["a", "b"]), single, utility="event")
    _, posterior = looked(study, simulated(study, 1, 10, enrolled=0))
    assert posterior.regimes().mean()[0] == pytest.approx([0.5, 0.8])
    _, posterior = looked(EXITS, simulated(EXITS, 1, 10, enrolled=0))
    assert np.isfinite(posterior.regimes().mean()).all()


@pytest.mark.parametrize("study", [EXITS, MIXED], ids=["exits", "mixed"])
@pytest.mark.parametrize("stage", [0, 1])
def test_marginal_values_are_averages_over_patients_with_the_set(study, stage):
    data = simulated(study, 2, 40)
    _, posterior = looked(study, data)
    decision = study.decisions[stage]
    options = max(decision.sets, key=len)
    asked = np.array([o in options for o in decision.options])
    values = posterior.marginal(stage, asked)
    names = [n.name for n in study.before(decision.name)]
    for t in range(2):
        known = np.all([np.nan_to_num(data.columns[n][t].astype(float), nan=-1) >= 0 for n in names], axis=0) if names else np.ones(40, dtype=bool)
        columns = {n: data.columns[n][t, known] for n in names}
        stay = (study.feasible(decision.name, columns) == asked).all(axis=1) if names else known
        columns = {n: c[stay] for n, c in columns.items()}
        each = posterior.options(stage, np.full(int(stay.sum()), t), columns, np.tile(asked, (int(stay.sum()), 1)))
        assert values.mean()[t] == pytest.approx(each.mean().mean(axis=0), abs=1e-12)
        if stage == 0:
            assert values.draws[t] == pytest.approx(each.draws.mean(axis=0), abs=1e-12)


# ---- what an answer may depend on --------------------------------------------------------------------------


@pytest.mark.parametrize("study", [EXITS, MIXED, SMART, ARMS], ids=["exits", "mixed", "smart", "arms"])
def test_the_same_records_in_another_order_and_company_give_identical_numbers(study):
    data = simulated(study, 9, 40, seed=6)
    rng = np.random.default_rng(7)
    order = np.stack([rng.permutation(40) for _ in range(9)])
    shuffled = Observed({n: np.take_along_axis(c, order, axis=1) for n, c in data.columns.items()}, None, np.take_along_axis(data.period, order, 1),
                        np.take_along_axis(data.enrolled, order, 1))
    analyst = CellsAnalyst(study, Analysis(draws=64))
    some = np.array([7, 2, 5])
    whole = analyst.look(data, np.arange(9), 0)
    part = CellsAnalyst(study, Analysis(draws=64)).look(shuffled.take(some), some + 100, 3)
    for a, b in ((whole.regimes().take(some), part.regimes()), (whole.marginal(0, np.ones(len(study.decisions[0].options), dtype=bool)).take(some),
                                                                part.marginal(0, np.ones(len(study.decisions[0].options), dtype=bool)))):
        assert np.array_equal(a.mean(), b.mean()) and np.array_equal(a.sd(), b.sd()) and np.array_equal(a.p_best()[0], b.p_best()[0])
        assert np.array_equal(a.quantile(0.025), b.quantile(0.025)) and np.array_equal(a.within(0.1), b.within(0.1))


def test_quasi_random_quantiles_are_those_of_the_betas():
    from scipy.special import betaincinv

    from bayesdtr.trial.analysis.points import beta_quantiles, middles, orders

    rng = np.random.default_rng(1)
    a, b = (np.concatenate([[0.5, 1.0, 0.5, 1.0, 30.0], rng.gamma(0.8, 60, 40) + 0.5]) for _ in range(2))
    b[:5] = [0.5, 1.0, 40.0, 900.0, 1.0]
    assert np.abs(beta_quantiles(a, b, 256) - betaincinv(a[:, None], b[:, None], middles(256))).max() < 1e-7
    assert (np.sort(orders(7, 128), axis=1) == np.arange(128)).all()


# ---- what is refused -----------------------------------------------------------------------------------------


def one(response, utility="y"):
    return Study(Decision("arm", ["a", "b"]), response, utility=utility)


@pytest.mark.parametrize(("study", "words"), [
    (one(Response("y", Normal(), model=Hierarchical())), "'y'.*Saturated"),
    (one(Response("y", Normal(), model=Saturated())), "'y'.*NormalInverseGamma"),
    (one(Response("y", Bernoulli(), model=Saturated(),
                  priors={"probability.a": dtr.RobustMAP.from_counts([3, 4], [10, 12], between=0.5)})), "takes Beta priors, and response 'y'"),
    (Study(Decision("a1", ["a", "b"]), Response("z", Normal(), model=Saturated(conjugate=NIG)),
           Decision("a2", {when(z=dtr.at_least(0.0)): ["a", "b"], when(z=dtr.below(0.0)): ["a"]}),
           Response("y", Bernoulli(), model=Saturated(over=["a1", "a2"])), utility="y"), "'z'.*laplace"),
], ids=["hierarchical", "reference prior", "mixture", "number in histories"])
def test_what_is_not_conjugate_or_not_proper_is_refused(study, words):
    with pytest.raises(TrialError, match=words):
        CellsAnalyst(study, Analysis())
    with pytest.raises(TrialError, match=words):
        TrialDesign(study, size=40, looks=[20], analysis=Analysis(engine="exact"))


def test_matched_draws_keep_what_is_impossible():
    draws = np.random.default_rng(1).normal(size=(2, 64, 3))
    draws[0, :, 1] = -np.inf
    mean = np.array([[0.0, -np.inf, 1.0], [0.2, 0.3, 0.4]])
    values = Matched.of(draws, mean, None)
    assert values.p_best()[0][0, 1] == 0 and values.sd()[0, 1] == 0 and values.mean()[0, 1] == -np.inf
    assert values.draws[1].mean(axis=0) == pytest.approx(mean[1], abs=1e-14)
