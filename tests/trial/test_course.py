"""The course of trials: what is assigned when, on which data, and what is written down; replayed here patient by patient in plain Python."""



import numpy as np
import pytest
from scipy import integrate, stats

import bayesdtr as dtr
from bayesdtr.trial.batch import run_batch

ARMS = ["A", "B", "C"]
STUDY = dtr.Study(dtr.Decision("arm", ARMS), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
SMART = dtr.Study(
    dtr.Decision("first", ["a", "b"]),
    dtr.Response("r", dtr.Bernoulli(), model=dtr.Saturated()),
    dtr.Decision("second", {dtr.when(r=0): ["c", "d"], dtr.when(r=1): ["go"]}),
    dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()),
    utility="y",
)
TRUTH = dtr.Scenario("truth", {"y": {"A": 0.3, "B": 0.5, "C": 0.4}})
SMART_TRUTH = dtr.Scenario("truth", {"r": {"a": 0.4, "b": 0.5},
                                     "y": {dtr.when(r=1): 0.7, dtr.when(r=0, second="c"): 0.3, dtr.when(r=0, second="d"): 0.5}})
DELAYED = dtr.Calendar(dtr.PoissonAccrual(2.0), delays={"y": 3.0})
IDS = np.arange(12)


def best(a, b):
    """P(each of independent Betas is the largest), by adaptive quadrature."""
    laws = [stats.beta(x, y) for x, y in zip(a, b, strict=True)]

    def one(i):
        return integrate.quad(lambda t: laws[i].pdf(t) * np.prod([law.cdf(t) for j, law in enumerate(laws) if j != i]), 0, 1, epsabs=1e-11)[0]

    return np.array([one(i) for i in range(len(laws))])


@pytest.fixture(scope="module")
def delayed():
    design = dtr.TrialDesign(STUDY, size=60, looks=range(20, 60, 10), allocation=dtr.Thompson(power=0.5, floor=0.1), calendar=DELAYED,
                             stopping=[dtr.Superiority(0.8)])
    return design, run_batch(design, TRUTH, IDS, seed=3, keep="patients")


def test_every_probability_is_that_of_the_data_known_at_its_look(delayed):
    design, out = delayed
    for trial in range(4):
        entered, arm, y = out["enrolled_at"][trial], out["option"][trial, :, 0], out["outcome"][trial, :, 0]
        for look in range(design.looks.count):
            used = np.flatnonzero(out["look_in_force"][trial, :, 0] == look)
            if not len(used):
                continue
            at = np.sort(entered)[int(design.looks.points[look]) - 1]
            known = entered + 3.0 <= at
            a = np.array([1 + ((arm == j) & known & (y == 1)).sum() for j in range(3)])
            b = np.array([1 + ((arm == j) & known & (y == 0)).sum() for j in range(3)])
            p = np.sqrt(best(a, b))
            wanted = 0.1 + 0.7 * p / p.sum()
            assert out["probability"][trial, used, 0] == pytest.approx(wanted[arm[used]], abs=1e-8)
            assert out["time"][trial, look] == at
            assert out["recruited"][trial, look] == (entered <= at).sum()
            assert out["known_look"][trial, look] == known.sum()


def test_recruitment_ends_with_the_look_that_decides(delayed):
    _, out = delayed
    stopped = out["stopped_by"] >= 0
    assert stopped.any()
    assert not stopped.all()
    for trial in IDS:
        look = out["stopped_at"][trial]
        entered = np.isfinite(out["enrolled_at"][trial])
        if stopped[trial]:
            at = out["time"][trial, look]
            assert out["statistic"][trial, look, 0] > 0.8
            assert (out["enrolled_at"][trial, entered] <= at).all()
            assert out["duration"][trial] == at
            assert np.isnan(out["time"][trial, look + 1 :]).all()
            assert out["known"][trial] < out["size"][trial]
        else:
            assert (np.nan_to_num(out["statistic"][trial, :, 0]) <= 0.8).all()
            assert out["size"][trial] == 60
            assert out["duration"][trial] == out["follow_up"][trial]
        assert out["size"][trial] == entered.sum()
        assert out["follow_up"][trial] == pytest.approx(np.nanmax(out["enrolled_at"][trial]) + 3.0)
        # Outcomes pending at the decision are known in the final analysis.
        assert out["observed"][trial, 0] == entered.sum()


def test_records_add_up(delayed):
    _, out = delayed
    assert (out["allocated"].sum(axis=1) == out["size"]).all()
    assert (out["followed"] == out["allocated"]).all()
    assert (out["utility"] == out["total"][:, 0]).all()
    for j in range(3):
        mine = out["option"][:, :, 0] == j
        assert (mine.sum(axis=1) == out["allocated"][:, j]).all()
    a = np.stack([1 + np.where(out["option"][:, :, 0] == j, out["outcome"][:, :, 0], 0).sum(axis=1) for j in range(3)], axis=1)
    assert out["mean"] == pytest.approx(a / (out["allocated"] + 2))
    assert out["path_max"][:, 0] == pytest.approx(np.nanmax(out["statistic"][:, :, 0], axis=1))


def test_a_replicate_is_the_same_whatever_stands_beside_it(delayed):
    design, out = delayed
    for some in (IDS[5:6], IDS[::-1], IDS[[3, 9]]):
        again = run_batch(design, TRUTH, some, seed=3, keep="patients")
        assert all(np.array_equal(again[name], out[name][some], equal_nan=True) for name in out)


def test_equal_allocation_is_on_common_random_numbers(delayed):
    design, out = delayed
    twin = run_batch(design.equal, TRUTH, IDS, seed=3, keep="patients")
    both = (out["option"] >= 0) & (twin["option"] == out["option"])
    assert 0.2 < both[:, 20:].mean() < 0.9
    assert (twin["outcome"][both] == out["outcome"][both]).all()
    assert (twin["enrolled_at"] == out["enrolled_at"])[both[:, :, 0]].all()


def test_the_first_patients_enter_in_blocks(delayed):
    _, out = delayed
    first = out["option"][:, :20, 0]
    assert all(((first[:, b : b + 6] == j).sum(axis=1) == 2).all() for j in range(3) for b in (0, 6, 12))
    assert (out["look_in_force"][:, :20] == -1).all()


def test_a_dropped_arm_gets_nobody_and_its_regimes_close():
    design = dtr.TrialDesign(STUDY, size=120, looks=range(20, 121, 10), allocation=dtr.Thompson(floor=0.1), stopping=[dtr.DropWorst(0.1)])
    out = run_batch(design, TRUTH, IDS, seed=1, keep="patients")
    assert (~out["active"]).any()
    for trial in IDS:
        for look in range(design.looks.count):
            if np.isnan(out["time"][trial, look]):
                continue
            used = out["look_in_force"][trial, :, 0] == look
            assert out["active_look"][trial, look, out["option"][trial, used, 0]].all()
        assert out["p_best_decision"][trial].sum() == pytest.approx(1)
        assert (out["p_best_decision"][trial][~out["active"][trial]] == 0).all()


@pytest.fixture(scope="module")
def smart():
    design = dtr.TrialDesign(SMART, size=50, looks=range(10, 50, 10), allocation=dtr.Thompson(floor=0.05),
                             calendar=dtr.Calendar(dtr.PoissonAccrual(4.0), delays={"r": 1.0, "y": 2.0}))
    return design, run_batch(design, SMART_TRUTH, IDS, seed=5, keep="patients")


def test_second_decisions_use_what_is_known_when_they_are_made(smart):
    design, out = smart
    checked = 0
    for trial in IDS[:5]:
        entered, first, second = out["enrolled_at"][trial], out["option"][trial, :, 0], out["option"][trial, :, 1]
        r, y = out["outcome"][trial].T
        looks = np.sort(entered)[np.array(design.looks.points, dtype=int) - 1]
        for patient in np.flatnonzero(r == 0):
            look = (looks < entered[patient] + 1.0).sum() - 1
            assert out["look_in_force"][trial, patient, 1] == look
            if look < 0:
                continue
            known = (entered + 3.0 <= looks[look]) & (first == first[patient]) & (r == 0)
            counts = [[1 + (known & (second == j) & (y == v)).sum() for j in (0, 1)] for v in (1, 0)]
            wanted = 0.05 + 0.9 * best(*counts)
            assert out["probability"][trial, patient, 1] == pytest.approx(wanted[second[patient]], abs=1e-8)
            checked += 1
        assert (second[r == 1] == 2).all()
        assert (out["probability"][trial, r == 1, 1] == 1).all()
    assert checked > 30


def test_courses_follow_their_regimes(smart):
    design, out = smart
    first, second, r = out["option"][:, :, 0], out["option"][:, :, 1], out["outcome"][:, :, 0]
    for j, regime in enumerate(design.layout.regimes):
        start, rescue = (dict(branches)[next(iter(dict(branches)))] for _, branches in regime.decisions)
        a, c = ["a", "b"].index(start), ["c", "d"].index(rescue)
        assert (out["followed"][:, j] == ((first == a) & ((r == 1) | (second == c))).sum(axis=1)).all()
    assert (out["allocated"][:, :2].sum(axis=1) == 50).all()


def test_the_same_records_give_the_same_posterior_under_any_allocation(smart):
    """Allocation by known probabilities is ignorable: analysing an adaptive trial's records uses nothing of how they came about."""
    design, out = smart
    first, second = out["option"][:, :, 0], out["option"][:, :, 1]
    columns = {"first": first.astype(np.int64), "r": out["outcome"][:, :, 0], "second": second.astype(np.int64), "y": out["outcome"][:, :, 1]}
    from bayesdtr.trial.analysis import analyst
    from bayesdtr.trial.observed import Observed

    shuffled = np.random.default_rng(1).permutation(50)
    for engine in (analyst(SMART, design.analysis, 50, 4), analyst(SMART, design.equal.analysis, 50, 4)):
        data = Observed({n: v[:, shuffled] for n, v in columns.items()}, None, np.zeros((12, 50), dtype=int), np.ones((12, 50), dtype=bool))
        values = engine.look(data, IDS, design.looks.count).regimes()
        assert np.array_equal(values.mean(), out["mean"])
        assert np.array_equal(values.p_best()[0], out["p_best"])


def test_whole_regimes_are_drawn_at_baseline():
    design = dtr.TrialDesign(SMART, size=50, looks=[20, 35], allocation=dtr.Thompson(level="sequence", floor=0.1))
    out = run_batch(design, SMART_TRUTH, np.arange(40), seed=5, keep="patients")
    adapted = out["look_in_force"][:, :, 0] >= 0
    rescued = adapted & (out["outcome"][:, :, 0] == 0)
    joint = out["probability"][:, :, 0] * out["probability"][:, :, 1]
    assert (joint[rescued] >= 0.1 - 1e-9).all()  # one of four regimes at least, each with a floor of .1
    # A later look does not change what was drawn: all that a trial's patients of one look can have is four joint probabilities, which sum to 1.
    for trial in range(3):
        mine = rescued[trial] & (out["look_in_force"][trial, :, 0] == 0)
        found = {(a, b): p for a, b, p in zip(out["option"][trial, mine, 0], out["option"][trial, mine, 1], joint[trial, mine], strict=True)}
        if len(found) == 4:
            assert sum(found.values()) == pytest.approx(1)


def test_who_drops_out_makes_no_later_decision():
    scenario = SMART_TRUTH.with_dropout(dtr.Dropout(0.3))
    calendar = dtr.Calendar(dtr.PoissonAccrual(4.0), delays={"r": 1.0, "y": 2.0})
    design = dtr.TrialDesign(SMART, size=50, looks=[20, 35], allocation=dtr.Thompson(), calendar=calendar)
    out = run_batch(design, scenario, IDS, seed=5, keep="patients")
    lost = np.isnan(out["outcome"][:, :, 0])
    assert lost.any()
    assert (out["option"][:, :, 1][lost] == -1).all()
    assert np.isnan(out["outcome"][:, :, 1][lost]).all()
    assert (out["completed"] == (~np.isnan(out["outcome"])).all(axis=2).sum(axis=1)).all()
    assert (out["size"] == 50).all()


def test_a_share_of_the_looks_is_refitted_with_nuts():
    """The exact engine of two arms against NUTS: what differs is Monte Carlo error."""
    study = dtr.Study(dtr.Decision("arm", ["A", "B"]), dtr.Response("y", dtr.Bernoulli(), model=dtr.Saturated()), utility="y")
    design = dtr.TrialDesign(study, size=40, looks=[20, 30], allocation=dtr.Thompson(), analysis=dtr.Analysis(audit=0.2))
    scenario = dtr.Scenario("truth", {"y": {"A": 0.3, "B": 0.5}})
    out = run_batch(design, scenario, np.arange(8), seed=1)
    assert 0 < out["audited"].sum() < 16
    some = out["audited"] > 0
    # Where all draws agree the error by batches is 0: one draw in 256 is then what cannot be seen.
    assert (out["audit_difference"][some] <= 5 * out["audit_noise"][some] + 1 / 256).all()
    assert np.isnan(out["audit_difference"][~some]).all()
    again = run_batch(design, scenario, np.arange(3, 8), seed=1)
    assert (again["audited"] == out["audited"][3:]).all()
    assert np.array_equal(again["audit_difference"], out["audit_difference"][3:], equal_nan=True)


@pytest.mark.parametrize("equal", [False, True], ids=["adaptive", "equal"])
def test_trials_that_are_counted_are_those_followed_patient_by_patient(equal):
    """Two engines, one set of patients: every record agrees to the last bit."""
    from bayesdtr.gallery import three_arm_adaptive as gallery
    from bayesdtr.trial import counting

    design = gallery.design.equal if equal else gallery.design
    assert counting.applies(design, gallery.scenarios[1], "looks")
    assert not counting.applies(design, gallery.scenarios[1], "patients")
    counted, followed = (run_batch(design, gallery.scenarios[1], np.arange(24), seed=1, keep=keep) for keep in ("looks", "patients"))
    assert all(np.array_equal(counted[name], followed[name], equal_nan=True) for name in counted)
