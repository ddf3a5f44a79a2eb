"""Audits of engines: which looks are picked, what is compared, what is printed."""

import numpy as np
import pytest

from bayesdtr.trial.analysis import Drawn
from bayesdtr.trial.analysis.audit import Audit, Audited, audited, refit


def test_looks_are_picked_by_seed_replicate_and_look_alone():
    ids = np.arange(4000)
    whole = audited(3, ids, 2, 0.05)
    assert whole.mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 4000))
    np.testing.assert_array_equal(audited(3, ids[[7, 70, 700]], 2, 0.05), whole[[7, 70, 700]])
    assert (audited(3, ids, 3, 0.05) != whole).any()
    assert not audited(3, ids, 2, 0.0).any()
    assert audited(3, ids, 2, 1.0).all()


class Fixed:
    """A posterior, and an engine, whose draws are given."""

    def __init__(self, draws):
        self.draws = draws

    def regimes(self):
        return Drawn(self.draws)

    def look(self, data, replicates, look):
        return Fixed(self.draws[np.asarray(replicates) - 10])


class Data:
    def take(self, trials):
        return self


def test_differences_are_those_of_the_draws():
    rng = np.random.default_rng(1)
    theirs = rng.normal(size=(6, 1600, 3)) + np.array([0.0, 0.1, 0.5])
    mine = theirs.copy()
    mine[4, :, 0] += 5.0  # another regime ahead, far beyond noise
    which = np.array([True, False, True, False, True, False])
    found = refit(Fixed(mine), Fixed(theirs), Data(), 10 + np.arange(6), 1, which)
    assert found.replicates.tolist() == [10, 12, 14]
    np.testing.assert_array_equal(found.p[:2], found.reference[:2])
    audit = Audit.of([found, refit(Fixed(mine), Fixed(theirs), Data(), 10 + np.arange(6), 2, np.zeros(6, dtype=bool))])
    p = lambda draws: (draws.argmax(axis=1)[:, None] == np.arange(3)).mean(axis=0)  # noqa: E731
    assert audit.largest == pytest.approx(np.abs(p(mine[4]) - p(theirs[4])).max(), abs=1e-12)
    assert (audit.looks, audit.disagreements, audit.beyond, audit.worst) == (3, 1, 1, (14, 1))
    text = str(audit)
    assert "3 looks refitted with NUTS" in text
    assert "replicate 14, look 2" in text
    assert max(map(len, text.splitlines())) <= 100


def test_an_audit_of_nothing_says_so():
    nothing = Audited(*(np.empty(0) for _ in range(2)), *(np.empty((0, 2)) for _ in range(4)), *(np.empty(0) for _ in range(4)))
    assert "no look" in str(Audit.of([nothing]))
