"""Explain one recommendation: what drove it, what would change it, and who in the data is like this patient."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data import like, read_new
from ...errors import DecisionError, did_you_mean, listing
from ...inference.check import SPARSE
from ...text import decimal, fold, places
from ..regime import Regime, next_decision, rows_before, warn_if_failed
from ..values import Summary, batch_error, chains_of, earnings, summarize
from ..world import Rows, World
from .changes import Changes, changes
from .contributions import Contributions, contributions, look_ahead
from .neighbors import NEAR
from .overlap import overlap_at, runner_up

SHOWN = 12


@dataclass(frozen=True)
class Alike:
    """One patient in the data like the one asked about.

    Attributes
    ----------
    patient : str
    distance : float
        Largest difference of any continuous variable, in SDs; 0 where all variables are discrete.
    option : str
        Received; empty where the decision is not made yet.
    earned : float
        Utility from this decision on; NaN for a patient who has not been followed to the end.
    """

    patient: str
    distance: float
    option: str
    earned: float


@dataclass(frozen=True)
class AlikePatients:
    """Patients of the same discrete history; where continuous variables matter, the nearest of them.

    Attributes
    ----------
    cell : int
        Patients with the same discrete history.
    near : int
        Those of them within half an SD in every continuous variable.
    rows : tuple of Alike
        Nearest first.
    """

    cell: int
    near: int
    rows: tuple[Alike, ...]

    def by_option(self) -> list[tuple[str, int, float, int]]:
        """Option received, patients, mean utility earned from the decision on, and the patients it is over."""
        found = []
        for option in dict.fromkeys(r.option for r in self.rows if r.option):
            mine = [r.earned for r in self.rows if r.option == option]
            known = [x for x in mine if x == x]
            found.append((option, len(mine), float(np.mean(known)) if known else np.nan, len(known)))
        return sorted(found, key=lambda f: (-f[1], f[0]))

    def frame(self, kind: str = "pandas") -> Any:
        """One row per patient: ``patient``, ``distance``, ``option``, ``earned``."""
        return like(kind, {n: [getattr(r, n) for r in self.rows] for n in ("patient", "distance", "option", "earned")})

    def lines(self, continuous: bool) -> list[str]:
        """Sentences for printing."""
        if not self.rows:
            return ["Nobody in the data has this discrete history."]
        far = f", from {self.rows[0].distance:.2f} to {self.rows[-1].distance:.2f} SD away" if continuous else ""
        told = f"the nearest {len(self.rows)} of {self.cell} with the same discrete history{far}" if continuous else \
            f"all {self.cell} with the same history"
        out = [f"{told}; within {NEAR:g} SD: {self.near}." if continuous else f"{told}."]
        out += [f"{option}: {n} received it" + (f", mean utility {mean:.4g} of {known} followed to the end" if known else "")
                for option, n, mean, known in self.by_option()]
        ids = ", ".join(r.patient for r in self.rows[:SHOWN]) + (f" and {len(self.rows) - SHOWN} more" if len(self.rows) > SHOWN else "")
        return [*out, f"Patients: {ids}. Means are as observed, not adjusted for who received what."]


@dataclass(frozen=True)
class Explanation:
    """Why one option is recommended to one patient.

    Attributes
    ----------
    patient, decision : str
    option : str
        Recommended.
    against : str
        What it is compared with: the next best, or the option named.
    difference : Summary
        Posterior-expected utility of the one minus that of the other, later decisions made by the regime.
    p_better, p_better_error : float
        Probability that the recommended option has the higher value of the two, and its Monte Carlo standard error.
    contributions : Contributions
        Of each variable to the difference, from that of an average patient to this patient's.
    changes : Changes
        The smallest changes of the history that flip the recommendation.
    alike : AlikePatients
    patients_like, received : int
        Patients in the data like this one, and those who received the recommended option.
    weight : float
        One over the probability of receiving it.
    outside : tuple of str
        Continuous variables outside the observed range.
    extrapolates : bool
    continuous : bool
        Whether continuous variables matter at this decision.
    removed : tuple of str
        Options that safety gates removed.
    status : {"ok", "warn", "fail"}
        Of the posterior's checks.
    """

    patient: str
    decision: str
    option: str
    against: str
    difference: Summary
    p_better: float
    p_better_error: float
    contributions: Contributions
    changes: Changes
    alike: AlikePatients
    patients_like: int
    received: int
    weight: float
    outside: tuple[str, ...]
    extrapolates: bool
    continuous: bool
    removed: tuple[str, ...]
    status: str

    def __str__(self) -> str:
        d, c = self.difference, self.contributions
        lines = [f"Patient {self.patient} at {self.decision!r}: {self.option} rather than {self.against}"]
        lines += ["  The posterior's checks fail, so this is no recommendation."] if self.status == "fail" else []
        at = places(d.sd)
        lines.append(f"  difference in expected utility {decimal(d.mean, at)} ({d.ci_prob:.0%} equal-tailed interval {d.between(at)}; Monte "
                     f"Carlo error {d.mcse:.2g})")
        better = "above 0.999" if self.p_better > 0.999 else f"{self.p_better:.3f}"
        lines.append(f"  P({self.option} is better) {better} (Monte Carlo error {self.p_better_error:.1g})")
        lines += [f"  removed by safety gates: {', '.join(self.removed)}"] if self.removed else []
        s = "" if self.patients_like == 1 else "s"
        lines.append(f"  {self.patients_like} patient{s} like this one, {self.received} of whom received {self.option}; weight {self.weight:.3g}")
        if self.extrapolates:
            why = f"outside the observed range in {', '.join(self.outside)}" if self.outside else f"fewer than {SPARSE} patients behind it"
            lines.append(f"  This recommendation extrapolates: {why}.")
        how = "all subsets of the variables" if c.exact else "sampled orders of the variables"
        lines += ["What drove the difference", *(f"  {x}" for x in c.lines(d.ci_prob))]
        if c.rows:
            lines.append(f"  Shapley values by {how}, {c.draws} draws, over {c.background} of the {c.patients} observed patients open to both.")
        lines += ["What would change the recommendation", *(f"  {x}" for x in self.changes.lines())]
        lines += ["Patients like this one", *(f"  {x}" for x in self.alike.lines(self.continuous))]
        return fold("\n".join(lines))


def explain(regime: Regime, patients: Any, *, patient: Any, against: str | None, nearest: int, ci_prob: float) -> Explanation:
    """Explain the recommendation for one patient at the decision that is due next.

    Parameters
    ----------
    regime : Regime
    patients : pandas, polars or pyarrow frame
        As for :meth:`Regime.recommend`.
    patient : label or None
        The identifier of the patient meant, or the number of the row from 1 where the study names no column of identifiers; may be left out
        for a frame of one row.
    against : str or None
        The option to compare with; by default the one of the next highest expected utility.
    nearest : int
        How many patients like this one are listed where continuous variables matter.
    ci_prob : float
        Probability of the equal-tailed intervals.

    Returns
    -------
    Explanation
        Printing tells it; ``contributions``, ``changes`` and ``alike`` have a ``frame()`` each.

    Raises
    ------
    DecisionError
        For a patient who is not in the frame, has no decision due or a single option; an option that is not feasible or is the recommended one.

    Warns
    -----
    VerdictWarning
        When the posterior's checks fail.

    Notes
    -----
    Contributions are interventional Shapley values of ``D(h) = Q(h, option) - Q(h, against)`` with the observed patients as background:
    each is the average, over the orders in which variables are taken from the patient and not from an observed one, of what it adds to D.
    They add up to the patient's D minus its average. Q is the posterior-expected utility with the regime's later decisions. Only observed
    patients who were open to both options count, and variables that cannot be mixed freely, because one decides which options of another
    are feasible, enter as one. With more than ten variables that matter orders are sampled, and the error says how well.

    A change flips the recommendation when another option is recommended after it although the present one is still feasible and the other
    is feasible now. It says what the rule looks at, not what treating the variable would do.

    References
    ----------
    Lundberg SM, Lee SI (2017), Advances in Neural Information Processing Systems 30. Janzing D, Minorics L, Blöbaum P (2020), AISTATS.
    Castro J, Gómez D, Tejada J (2009), Computers & Operations Research 36:1726-1730.
    """
    if not 0 < ci_prob < 1:
        raise DecisionError(f"explain: ci_prob must lie between 0 and 1, got {ci_prob!r}.")
    if isinstance(nearest, bool) or not isinstance(nearest, int | np.integer) or nearest < 1:
        raise DecisionError(f"explain: nearest is a number of patients, 1 or more, got {nearest!r}.")
    warn_if_failed(regime.posterior.verdict, stacklevel=4)
    return _explained(regime, *_one(regime, patients, patient), against, nearest, ci_prob)


def _explained(regime: Regime, label: str, stage: int, rows: Rows, against: str | None, nearest: int, ci_prob: float) -> Explanation:
    posterior = regime.posterior
    decision = posterior.study.decisions[stage]
    a = regime.assess(decision.name, rows, ci_prob=ci_prob)
    open_ = posterior.study.feasible(decision.name, rows.columns)[0] if rows.columns else np.ones(len(decision.options), dtype=bool)
    best = int(a.choice[0])
    other = _other(decision.name, decision.options, open_, best, int(runner_up(a)[0]), against)
    difference, better = _difference(regime, stage, rows, best, other, ci_prob)
    behind = overlap_at(regime, decision, rows)
    removed = tuple(o for o, is_open, known in zip(decision.options, open_, np.isfinite(a.expected[0]), strict=True) if is_open and not known)
    return Explanation(
        label, decision.name, decision.options[best], decision.options[other], difference, float(better.mean()), float(batch_error(better)),
        contributions(regime, stage, rows, best, other, ci_prob), changes(regime, stage, rows, best), _alike(regime, stage, rows, nearest),
        int(behind.like[0]), int(behind.received[0, best]), float(behind.weight[0, best]),
        tuple(n for n, out in zip(behind.names, behind.outside[0], strict=True) if out), bool(behind.extrapolates[0, best]),
        bool(regime.neighborhoods[decision.name].continuous), removed, posterior.verdict.status,
    )


def _one(regime: Regime, patients: Any, patient: Any) -> tuple[str, int, Rows]:
    """The patient meant: label, index of the decision due, history."""
    posterior = regime.posterior
    new = read_new(posterior.study, patients, cluster_labels=posterior.trajectories.cluster_labels)
    ids = [str(x) for x in new.ids]
    if patient is None and new.n > 1:
        raise DecisionError(f"explain: the data hold {new.n} patients; name one, patient=..., or give a frame of one row.")
    label = ids[0] if patient is None else str(patient)
    if label not in ids:
        raise DecisionError(f"explain: no patient {label!r} in the data; there are {listing(ids[:20])}{did_you_mean(label, ids)}")
    index = ids.index(label)
    stage = int(next_decision(posterior, new)[index])
    if stage == len(posterior.study.decisions):
        raise DecisionError(f"explain: no decision is due for patient {label!r}; leave out the columns from the decision on that is to be explained.")
    return label, stage, rows_before(posterior, new, posterior.study.decisions[stage].name, np.array([index]))


def _other(decision: str, names: tuple[str, ...], open_: np.ndarray, best: int, second: int, against: str | None) -> int:
    """Code of the option to compare with."""
    feasible = [o for o, yes in zip(names, open_, strict=True) if yes]
    if len(feasible) < 2:
        raise DecisionError(f"explain: {names[best]!r} is the only option at {decision!r} for this patient; there is nothing to explain.")
    if against is None:
        return second if second != best else next(i for i, yes in enumerate(open_) if yes and i != best)
    if against not in feasible:
        raise DecisionError(f"explain: {against!r} is no option at {decision!r} for this patient; feasible: {listing(feasible)}"
                            f"{did_you_mean(str(against), feasible)}")
    if names.index(against) == best:
        raise DecisionError(f"explain: {against!r} is the option recommended at {decision!r}; compare it with another of {listing(feasible)}.")
    return names.index(against)


def _difference(regime: Regime, stage: int, rows: Rows, a: int, b: int, ci_prob: float) -> tuple[Summary, np.ndarray]:
    """Difference of two options' values, and who is better by draw, shape (chain, draw); a tie counts half."""
    world = World.of(regime.posterior).under(regime.safety)
    (_, qbar, q), *_ = look_ahead(regime, world, stage, rows)
    drawn = chains_of(regime.posterior, q[:, 0, a] - q[:, 0, b])
    found = dataclasses.replace(summarize(drawn, ci_prob), mean=float(qbar[0, a] - qbar[0, b]))
    return found, (drawn > 0) + 0.5 * (drawn == 0)


def _alike(regime: Regime, stage: int, rows: Rows, nearest: int) -> AlikePatients:
    study, t = regime.posterior.study, regime.posterior.trajectories
    decision = study.decisions[stage]
    near = regime.neighborhoods[decision.name]
    patients, distance = near.nearest(rows)
    earned = earnings(study, t)
    total = sum((earned[r.name] for d in study.decisions[stage:] for r in study.after(d.name) if r.name in earned), np.zeros(t.n))
    total = np.where(t.finished(study), total, np.nan)
    kept = patients[:nearest] if near.continuous else patients
    found = []
    for i, far in zip(kept, distance, strict=False):
        code = int(t.columns[decision.name][i])
        found.append(Alike(str(t.ids[i]), float(far), decision.options[code] if code >= 0 else "", float(total[i])))
    return AlikePatients(len(patients), int((distance <= NEAR + 1e-12).sum()), tuple(found))
