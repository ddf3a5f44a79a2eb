"""Stage-wise Q-learning against literal sums, closed forms of Beta posteriors, and Q-learning by least squares."""

import dataclasses

import known
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import beta as beta_law

import bayesdtr as dtr
from bayesdtr import Bernoulli, Decision, Normal, Response, Saturated, Study, Utility, when
from bayesdtr.decision.stagewise.linear_q import LinearPrior, LinearStage, linear_posterior, linear_q
from bayesdtr.decision.stagewise.pseudo import MODES, Stage, continued
from bayesdtr.decision.world import Rows, World
from bayesdtr.gallery import codiacs
from bayesdtr.study.saturated import saturated_cells

pytestmark = pytest.mark.filterwarnings("ignore::bayesdtr.VerdictWarning")
CELLS = {"model": Saturated()}
IMPUTATIONS = 3000


# ---- three decisions, early exits, a forced option, weights, discount, costs ---------------------


def three() -> Study:
    """Who has r = 1 leaves before the second decision; who has s = 1 has no choice at the third; something is earned at every step."""
    return Study(
        Decision("a", ["p", "q"]), Response("r", Bernoulli(), **CELLS),
        Decision("b", {when(r=0): ["x", "y"], when(r=1): []}), Response("s", Bernoulli(), **CELLS),
        Decision("c", {when(s=0): ["m", "n"], when(s=1): ["m"]}), Response("u", Normal(), **CELLS),
        utility=Utility({"r": 1.3, "s": -0.4, "u": 1.0}, discount=0.9, costs={"a": {"q": 0.5}, "c": {"n": 0.25}}),
    )


def cohort(n: int = 160) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    rows = []
    for i in range(n):
        row = {"a": rng.choice(["p", "q"]), "r": int(rng.random() < 0.4), "b": None, "s": np.nan, "c": None, "u": np.nan}
        if row["r"] == 0:
            row |= {"b": rng.choice(["x", "y"]), "s": int(rng.random() < 0.5)}
            row["c"] = "m" if row["s"] == 1 else rng.choice(["m", "n"])
            effect = {"m": 0.0, "n": 1.0}[row["c"]] + {"x": 0.8, "y": 0.0}[row["b"]] + {"p": 0.6, "q": 0.0}[row["a"]]
            row["u"] = effect + float(rng.normal()) if i % 20 else np.nan  # some are not followed to the end
        rows.append(row)
    return pd.DataFrame(rows)


def literal_means(frame: pd.DataFrame, third: dict[str, np.ndarray], pick) -> list[np.ndarray | None]:
    """Expected pseudo-outcomes of the second decision, draw by draw, patient by patient; None for who left before it.

    `third` has draws of the mean of u by cell label; `pick(values by option)` chooses among options' draws. Amounts by hand: u and its cost
    count .81 times, s -.36 times.
    """
    out = []
    for row in frame.itertuples():
        if row.r == 1:
            out.append(None)
            continue
        history = f"{row.a}, 0, {row.b}, {int(row.s)}"
        values = {"m": 0.81 * third[f"{history}, m"]}
        if row.s == 0:
            values["n"] = 0.81 * (third[f"{history}, n"] - 0.25)
        out.append(-0.36 * row.s + pick(values))
    return out


def committed_pick(values):
    return values[max(values, key=lambda o: values[o].mean())]


def clairvoyant_pick(values):
    return np.max(np.stack(list(values.values())), axis=0)


def drawn_by_cell(q, decision: str) -> dict[str, np.ndarray]:
    world = q.posterior.stages[decision].world
    (name,) = q.posterior.stages[decision].responses
    labels = saturated_cells(world.study, world.study[name]).labels
    return dict(zip(labels, world.draws[name]["mean"].T, strict=True))


@pytest.mark.parametrize("mode", ["mean_committed", "mean"])
def test_expected_pseudo_outcomes_are_literal_sums(mode):
    """Averages of earlier stages' draws are those of pseudo-outcomes summed by hand: exits, a forced option, weights, discount, costs."""
    frame = cohort()
    q = dtr.q_learn(three(), frame, seed=4, mode=mode, engine="exact", imputations=IMPUTATIONS, progress=False)
    pick = committed_pick if mode == "mean_committed" else clairvoyant_pick
    after = literal_means(frame, drawn_by_cell(q, "c"), pick)
    second = drawn_by_cell(q, "b")
    for label, draws in second.items():
        a, _, b = label.split(", ")
        mine = np.stack([y for row, y in zip(frame.itertuples(), after, strict=True) if row.r == 0 and (row.a, row.b) == (a, b)])
        assert abs(draws.mean() - mine.mean()) < 4 * draws.std() / np.sqrt(IMPUTATIONS), label
        # One draw for each imputation: it goes along with its own imputation's average.
        assert np.corrcoef(draws, mine.mean(axis=0))[0, 1] > 0.3
    first = drawn_by_cell(q, "a")
    for a, draws in first.items():
        group = frame[frame.a == a]
        # r counts 1.3 and ends the course; the cost of q is known, and no part of what is estimated.
        mine = [np.full(IMPUTATIONS, 1.3) if r == 1 else pick({b: second[f"{a}, 0, {b}"] for b in "xy"}) for r in group.r]
        assert abs(draws.mean() - np.mean(mine)) < 4 * draws.std() / np.sqrt(IMPUTATIONS), a
    known_q = {a: first[a].mean() - (0.5 if a == "q" else 0.0) for a in "pq"}
    _, found = q.profile["a"]
    np.testing.assert_allclose(found.expected[0], [known_q["p"], known_q["q"]], atol=1e-12)
    if mode == "mean_committed":
        assert q.value().mean == pytest.approx(max(known_q.values()), abs=1e-12)


def test_outcomes_are_kept_where_the_rule_was_followed_and_drawn_elsewhere():
    """Element by element on given draws: kept, forced, not yet followed up, and the law of what is drawn."""
    study, frame = three(), cohort()
    posterior = known.posterior_with(study, known.random_cells(study, 5, chains=2, per_chain=400), frame)
    world, t = World.of(posterior), posterior.trajectories
    stage = Stage(world, 2)
    index = np.flatnonzero(t.reached(study, "c"))
    rows = Rows(t.history(["a", "r", "b", "s"], index), None, len(index))
    received, outcome = t.columns["c"][index], t.columns["u"][index] * 0.81 - 0.25 * 0.81 * (t.columns["c"][index] == 1)
    qbar, q = stage.values(rows)
    for mode in ("bml", "bml_committed"):
        best = q.argmax(axis=2) if mode == "bml" else np.broadcast_to(qbar.argmax(axis=1), q.shape[:2])
        found = continued(mode, stage, rows, received, outcome, 7)
        kept = (best == received) & np.isfinite(outcome)
        np.testing.assert_array_equal(found[kept], np.broadcast_to(outcome, kept.shape)[kept])
        forced = (rows.columns["s"] == 1) & np.isfinite(outcome)
        assert forced.sum() > 20
        np.testing.assert_array_equal(found[:, forced], np.broadcast_to(outcome[forced], (800, forced.sum())))
        assert np.isfinite(found).all() and not np.isfinite(outcome).all()
        expected = np.take_along_axis(q, best[..., None], axis=2)[..., 0]
        sigma = 0.81 * world.draws["u"]["sigma"][:, None]
        z = ((found - expected) / sigma)[~kept]
        assert z.size > 10_000
        assert abs(z.mean()) < 4 / np.sqrt(z.size) and abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    for mode in ("mean", "mean_committed"):
        best = q.argmax(axis=2) if mode == "mean" else np.broadcast_to(qbar.argmax(axis=1), q.shape[:2])
        np.testing.assert_array_equal(continued(mode, stage, rows, received, outcome, 7), np.take_along_axis(q, best[..., None], axis=2)[..., 0])


def test_of_tied_options_the_first_declared_counts():
    study = Study(Decision("a", ["p", "q"]), Response("u", Normal(), **CELLS), utility="u")
    draws = {"u": {"mean": np.ones((1, 50, 2)), "sigma": np.ones((1, 50))}}
    posterior = known.posterior_with(study, draws, pd.DataFrame({"a": ["p", "q"], "u": [5.0, 6.0]}))
    for mode in ("bml", "bml_committed"):
        found = continued(mode, Stage(World.of(posterior), 0), Rows({}, None, 2), np.array([0, 1]), np.array([5.0, 6.0]), 1)
        assert (found[:, 0] == 5).all() and not (found[:, 1] == 6).any()


# ---- two stages, yes or no: closed forms ---------------------------------------------------------


def yes_or_no() -> Study:
    return Study(Decision("a", ["p", "q"]), Response("r", Bernoulli()), Decision("b", ["x", "y"]), Response("u", Bernoulli(), **CELLS), utility="u")


@pytest.fixture(scope="module")
def counted() -> pd.DataFrame:
    """Patients and successes by a, r and b."""
    counts = {("p", 0, "x"): (14, 5), ("p", 0, "y"): (11, 6), ("p", 1, "x"): (9, 7), ("p", 1, "y"): (12, 5),
              ("q", 0, "x"): (10, 2), ("q", 0, "y"): (13, 9), ("q", 1, "x"): (16, 9), ("q", 1, "y"): (8, 4)}
    rows = [{"a": a, "r": r, "b": b, "u": int(i < yes)} for (a, r, b), (n, yes) in counts.items() for i in range(n)]
    return pd.DataFrame(rows)


def kept_and_drawn(counted: pd.DataFrame, mode: str) -> dict[str, float]:
    """Sum of expected pseudo-outcomes by first option, by quadrature over independent Beta(1 + yes, 1 + no)."""
    laws, found = {}, {}
    for cell, group in counted.groupby(["a", "r", "b"]):
        laws[cell] = beta_law(1 + group.u.sum(), 1 + len(group) - group.u.sum())
    for a in "pq":
        total = 0.0
        for row in counted[counted.a == a].itertuples():
            own, other = laws[a, row.r, row.b], laws[a, row.r, "y" if row.b == "x" else "x"]
            if mode == "bml_committed":
                total += row.u if own.mean() > other.mean() else other.mean()
            elif mode == "mean_committed":
                total += max(own.mean(), other.mean())
            else:
                p_own = quad(lambda p, own=own, other=other: own.pdf(p) * other.cdf(p), 0, 1)[0]
                gain = quad(lambda p, own=own, other=other: p * other.pdf(p) * own.cdf(p), 0, 1)[0]
                stay = quad(lambda p, own=own, other=other: p * own.pdf(p) * other.cdf(p), 0, 1)[0]
                total += p_own * row.u + gain if mode == "bml" else stay + gain
        found[a] = total
    return found


@pytest.mark.parametrize("mode", MODES)
def test_averages_of_binary_stages_are_in_closed_form(counted, mode):
    """Bernoulli stages under the outcome-keeping modes (Beta(1, 1) prior), Normal ones with the reference prior under the others."""
    q = dtr.q_learn(yes_or_no(), counted, seed=2, mode=mode, engine="exact", imputations=6000, progress=False)
    world = q.posterior.stages["a"].world
    name = q.posterior.stages["a"].responses[0]
    sums, size = kept_and_drawn(counted, mode), counted.groupby("a").size()
    keeps = mode.startswith("bml")
    assert isinstance(world.study[name].family, Bernoulli if keeps else Normal) and (name == "u") == keeps
    draws = world.draws[name]["probability" if keeps else "mean"]
    for j, a in enumerate("pq"):
        wanted = (1 + sums[a]) / (2 + size[a]) if keeps else sums[a] / size[a]
        assert abs(draws[:, j].mean() - wanted) < 4 * draws[:, j].std() / np.sqrt(6000)
    if keeps:
        assert draws.min() > 0 and draws.max() < 1


def test_the_last_stage_is_the_plain_posterior(counted):
    plain = dtr.fit(Study(*[Response("r", Bernoulli(), **CELLS) if n.name == "r" else n for n in yes_or_no().timeline], utility="u"), counted,
                    seed=6, engine="exact", draws=400)
    q = dtr.q_learn(yes_or_no(), counted, seed=6, engine="exact", imputations=400, progress=False)
    np.testing.assert_array_equal(q.posterior.stages["b"].world.draws["u"]["probability"], plain.draws("u")["probability"])
    histories = counted[["a", "r"]].drop_duplicates()
    mine, theirs = q.recommend(histories, every_option=True), dtr.optimize(plain).recommend(histories, every_option=True)
    same = ["decision", "option", "expected_utility", "lower", "upper", "p_best", "regret", "recommended"]
    pd.testing.assert_frame_equal(mine[same], theirs[same], rtol=1e-9)


def test_codiacs_is_that_of_the_joint_model():
    """Saturated stages with the reference prior: the committed mean of therapy is the average over improvement of the better cell means."""
    q = dtr.q_learn(codiacs.study, codiacs.patients(), seed=1, mode="mean_committed", engine="exact", progress=False)
    assert q.rules()[0] == "first: therapy" and "second: if first = therapy, stay" in q.rules()
    # 24 of 52 did not improve on therapy: cell means 7.8 and 22 (under medication: 27 and 29 of 56, 10.5 and 10.875)
    wanted = {"therapy": (24 * 7.8 + 28 * 22) / 52, "medication": (27 * 10.5 + 29 * 10.875) / 56}
    draws = q.value_draws
    assert abs(draws.mean() - wanted["therapy"]) < 4 * draws.std() / np.sqrt(draws.size)
    _, a = q.profile["first"]
    # Beside the true distribution of later values, medication's average has that of its second stage.
    np.testing.assert_allclose(a.expected[0], [wanted["medication"], wanted["therapy"]], atol=4 * 3.5 / np.sqrt(draws.size))


def test_costs_are_exact():
    """The same seed with a cost on the first decision moves that option's values by the cost, and nothing else."""
    costly = codiacs.study.with_utility(Utility({"bdi_drop": 1.0}, costs={"first": {"therapy": 2.0}}))
    plain, paid = (dtr.q_learn(s, codiacs.patients(), seed=3, engine="exact", imputations=200, progress=False) for s in (codiacs.study, costly))
    (_, a), (_, b) = plain.profile["first"], paid.profile["first"]
    np.testing.assert_allclose((a.expected - b.expected)[0], [0.0, 2.0], atol=1e-10)


# ---- linear stages: Q-learning by least squares --------------------------------------------------


def two_signs(n: int = 300, seed: int = 8) -> tuple[list[LinearStage], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    s1, a1, s2, a2 = rng.choice([-1.0, 1.0], (4, n))
    y = 0.3 * a1 + a2 * (0.25 + 0.5 * s2 + 0.5 * a1) + rng.normal(size=n)
    head = lambda a: np.stack([np.ones(n), s1, a, s1 * a], axis=1)  # noqa: E731
    tail = lambda a: np.concatenate([head(a1), np.stack([a, s2 * a, a1 * a], axis=1)], axis=1)  # noqa: E731
    fixed = (np.full(n, -1.0), np.full(n, 1.0))
    first = LinearStage(np.stack([head(a) for a in fixed]), (a1 > 0).astype(int), np.zeros(n))
    return [first, LinearStage(np.stack([tail(a) for a in fixed]), (a2 > 0).astype(int), y)], tail(a2), y


def test_without_prior_precision_means_are_those_of_least_squares():
    """As the prior's precision vanishes both stages' means are the coefficients of Q-learning, and so are the pseudo-outcomes."""
    stages, x2, y = two_signs()
    beta = np.linalg.lstsq(x2, y, rcond=None)[0]
    x1 = stages[0].design
    pseudo = x2[:, :4] @ beta[:4] + np.abs(stages[1].designs[1][:, 4:] @ beta[4:])
    gamma = np.linalg.lstsq(x1, pseudo, rcond=None)[0]
    for precision in (0.0, 1e-10):
        priors = [LinearPrior(np.zeros(p), precision * np.eye(p), -p / 2, 0.0) for p in (4, 7)]
        made = linear_posterior(x2, y[None], priors[1])
        np.testing.assert_allclose(made.mean[0], beta, atol=1e-6)
        assert made.shape == (300 - 7) / 2
        assert 2 * made.rate[0] / (300 - 7) == pytest.approx(((y - x2 @ beta) ** 2).sum() / (300 - 7), rel=1e-8)
        plugged = stages[1].values(made.mean[0]).max(axis=1)
        np.testing.assert_allclose(plugged, pseudo, atol=1e-6)
        np.testing.assert_allclose(linear_posterior(x1, plugged[None], priors[0]).mean[0], gamma, atol=1e-6)
        own = [dataclasses.replace(s, prior=p) for s, p in zip(stages, priors, strict=True)]
        q = linear_q(own, mode="mean_committed", size=4000, seed=1)
        np.testing.assert_allclose(q.means[1], beta, atol=1e-6)
        error = linear_posterior(x1, q.pseudo[0], priors[0]).mean.std(axis=0) / np.sqrt(4000)
        assert (np.abs(q.means[0] - gamma) < 4 * error).all()
    assert linear_q(stages, mode="mean", size=4000, seed=1).pseudo[0].mean() > pseudo.mean()  # E max above max E


def test_a_proper_prior_is_the_textbook_update():
    _, x, y = two_signs(40)
    rng = np.random.default_rng(2)
    root = rng.normal(size=(7, 7))
    prior = LinearPrior(rng.normal(size=7), root @ root.T, 3.0, 2.0)
    made = linear_posterior(x, np.stack([y, 2 * y]), prior)
    precision = x.T @ x + prior.precision
    for g, outcome in enumerate((y, 2 * y)):
        m = np.linalg.solve(precision, x.T @ outcome + prior.precision @ prior.mean)
        rate = 2.0 + 0.5 * (outcome @ outcome + prior.mean @ prior.precision @ prior.mean - m @ precision @ m)
        np.testing.assert_allclose(made.mean[g], m, rtol=1e-9)
        assert made.rate[g] == pytest.approx(rate, rel=1e-9)
    assert made.shape == 23.0
    many = made._replace(mean=np.repeat(made.mean[:1], 20_000, axis=0), rate=np.repeat(made.rate[:1], 20_000))
    beta, sigma = many.draw(np.random.default_rng(1))
    covariance = made.rate[0] / (made.shape - 1) * np.linalg.inv(precision)
    z = (beta.mean(axis=0) - made.mean[0]) / np.sqrt(np.diagonal(covariance) / 20_000)
    assert np.abs(z).max() < 4.5
    np.testing.assert_allclose(np.cov(beta.T), covariance, atol=6 * np.diagonal(covariance).max() / np.sqrt(20_000))
    assert (sigma**2).mean() == pytest.approx(made.rate[0] / (made.shape - 1), rel=0.02)


def test_linear_courses_may_end_and_options_be_forced():
    """Who left has what was earned; who had one option keeps the outcome, or has its value; nobody is given an infeasible one."""
    stages, _, y = two_signs(200)
    rng = np.random.default_rng(4)
    left, forced = rng.random(200) < 0.3, rng.random(200) < 0.3
    early = rng.normal(size=200)
    received = np.where(left, -1, np.where(forced, 0, stages[1].received))
    feasible = np.stack([np.ones(200, dtype=bool), ~forced], axis=1)
    pair = [dataclasses.replace(stages[0], earned=early), dataclasses.replace(stages[1], received=received, feasible=feasible)]
    single = forced & ~left
    for mode in MODES:
        q = linear_q(pair, mode=mode, size=200, seed=2)
        np.testing.assert_array_equal(q.pseudo[0][:, left], np.broadcast_to(early[left], (200, left.sum())))
        own = early[single] + (y[single] if mode.startswith("bml") else q.coefficients[1] @ stages[1].designs[0][single].T)
        np.testing.assert_allclose(q.pseudo[0][:, single], np.broadcast_to(own, (200, single.sum())), rtol=1e-12)
        assert (q.choice[1][forced[~left]] == 0).all()


def test_published_q_learning_on_codiacs(shared_data):
    """Coefficients, residual variances, first-stage values and rule as published and recomputed (reference prior, plug-in)."""
    table = pd.read_csv(shared_data / "codiacs.csv")
    a1, r, a2, y = (table[c].to_numpy(dtype=float) for c in ("A1", "O2", "A2", "Y"))
    one = np.ones(len(y))
    late = lambda a: np.stack([one, a1, a, a1 * a, r, r * (1 - a1) * a, r * a1 * (1 - a)], axis=1)  # noqa: E731
    early = lambda a: np.stack([one, a], axis=1)  # noqa: E731
    stages = [LinearStage(np.stack([early(0 * one), early(one)]), a1.astype(int), 0 * y),
              LinearStage(np.stack([late(0 * one), late(one)]), a2.astype(int), y)]
    q = linear_q(stages, mode="mean_committed", size=2000, seed=1)
    np.testing.assert_allclose(q.means[1], [2.206382, 5.593618, 8.293618, -12.102015, 7.745303, -13.045303, 6.454697], atol=5e-7)
    assert 2 * linear_posterior(late(a2), y[None], LinearPrior.reference(7)).rate[0] / 101 == pytest.approx(45.20968, abs=5e-6)
    plugged = stages[1].values(q.means[1]).max(axis=1)
    made = linear_posterior(early(a1), plugged[None], LinearPrior.reference(2))
    np.testing.assert_allclose([made.mean[0, 0], made.mean[0].sum()], [10.21605, 15.44615], atol=5e-6)
    assert 2 * made.rate[0] / 106 == pytest.approx(24.62276, abs=5e-6)
    assert (q.choice[0] == 1).all() and (q.choice[1][a1 == 1] == 0).all()
    wanted = {a: q.pseudo[0].mean(axis=0)[a1 == a].mean() for a in (0, 1)}
    assert wanted[1] == pytest.approx(15.44615, abs=4 * 3 / np.sqrt(2000)) and wanted[0] == pytest.approx(10.21605, abs=4 * 3 / np.sqrt(2000))
