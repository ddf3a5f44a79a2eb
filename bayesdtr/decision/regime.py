"""`Regime`: the committed rule, its recommendations, its value, its readable form."""

import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Trajectories, backend, like, read_new
from ..errors import DecisionError, VerdictWarning
from ..inference import Posterior, Verdict
from ..study.safety import Safety
from ..study.timeline import Decision
from ..text import fold
from .accuracy import Accuracy, accuracy_of
from .assess import Assessment, assess
from .learner import REGRESSION
from .limits.safety import COLUMNS as GATE_COLUMNS
from .limits.safety import Shield, record_lines, shield
from .regression import StageFit
from .sets import COLUMNS, Ties, checked, lines, ties
from .values import CertaintyEquivalent, Summary, batch_error, certain_of, earnings, summarize
from .world import Rows

if TYPE_CHECKING:
    from .explaining.explain import Explanation

Lines = Callable[[Decision, Assessment, np.ndarray, Rows], Iterable[dict[str, Any]]]
"""From a decision, what is known of its options, the patients' rows and their histories to the lines of a frame."""


@dataclass(frozen=True, eq=False)
class Regime:
    """The optimal regime of a posterior: at every decision the option of highest posterior-expected utility.

    Later decisions follow the same committed rule, so its value is the value of something that can be done.

    Attributes
    ----------
    posterior : Posterior
    methods : mapping of str to str
        How each decision's look-ahead is computed: by the tree of histories or by regression.
    fits : mapping of str to StageFit
        Fitted values of the decisions that use regression.
    value_draws : array, shape (chain, draw)
        Posterior of the regime's value, averaged over the observed patients.
    safety : Safety, optional
        Gates that remove options.
    """

    posterior: Posterior
    methods: Mapping[str, str]
    fits: Mapping[str, StageFit]
    value_draws: np.ndarray
    safety: Safety | None = None

    # ---- recommendations -------------------------------------------------------------------------

    def assess(self, decision: str, rows: Rows, *, ci_prob: float = 0.95, epsilon: float = 0.0) -> Assessment:
        """Assess every option at a decision for given histories (codes, not labels)."""
        names = [d.name for d in self.posterior.study.decisions]
        fit = self.fits[decision] if self.methods[decision].startswith(REGRESSION) else None
        return assess(self.posterior, names.index(decision), rows, fit, ci_prob=ci_prob, epsilon=epsilon, safety=self.safety)

    @functools.cached_property
    def profile(self) -> dict[str, tuple[Rows, Assessment]]:
        """Per decision, the histories that describe it and their assessment; worked out once, when first asked for."""
        from .reading.readable import evaluation_rows

        found = {}
        for decision in self.posterior.study.decisions:
            rows = evaluation_rows(self.posterior, decision)
            if rows.n:
                found[decision.name] = (rows, self.assess(decision.name, rows))
        return found

    @functools.cached_property
    def accuracy(self) -> tuple[Accuracy, ...]:
        """How each decision's expected utilities were worked out and their numerical error; worked out once, when first asked for.

        Apart from the Monte Carlo error over posterior draws, which :attr:`value_error`, ``mc_tie`` and ``p_flip`` tell.
        """
        return accuracy_of(self)

    def recommend(self, patients: Any, *, every_option: bool = False, ci_prob: float = 0.95) -> Any:
        """Recommend an option to each patient at the decision that is due next.

        Options that safety gates have removed are not among the feasible ones; :meth:`gates` tells of them.

        Parameters
        ----------
        patients : pandas, polars or pyarrow frame
            Any prefix of the timeline; later columns may be absent. A cluster never seen is integrated out.
        every_option : bool
            One row per feasible option instead of one per patient.
        ci_prob : float
            Probability of the equal-tailed intervals.

        Returns
        -------
        frame of the caller's kind
            Columns: the patient's identifier, ``decision``, ``option``, ``expected_utility``,
            ``lower``, ``upper`` (they bound the expected utility, not the patient's outcome),
            ``p_best``, ``regret``, ``near_tie`` (another option within `mcid`), ``mc_tie`` (Monte
            Carlo error could have decided), ``p_flip`` (probability that it did), ``patients_like`` (patients in the data who reached the
            decision with the same discrete history and no continuous variable more than half an SD away), ``received`` (how many of them
            received the option), ``weight`` (one over the probability of receiving it), ``extrapolates`` (fewer than five received it, or a
            continuous variable lies outside the observed range), ``verdict``; with `every_option` also ``recommended``
            and ``p_starts_best``. Patients with no decision due have no row.

        Notes
        -----
        Likeness looks at the variables that the models, the conditions or the utility look at from the decision on; numbers with more than
        ten possible values (of a covariate: more than two in the data) count as continuous, and clusters, over which models pool, are left
        out. Weights follow the declared probabilities; recorded ones, averaged over those like the patient who received the option; or,
        where nobody randomized, the share of them who did. A weight is infinite where nobody like the patient received the option.
        :meth:`overlap` says more.

        Warns
        -----
        VerdictWarning
            When the posterior's checks fail: the rows are then no recommendation.
        """
        if not 0 < ci_prob < 1:
            raise DecisionError(f"recommend: ci_prob must lie between 0 and 1, got {ci_prob!r}.")
        names = ["decision", "option", "expected_utility", "lower", "upper", "p_best", "regret", "near_tie", "mc_tie", "p_flip"]
        names += ["patients_like", "received", "weight", "extrapolates", "verdict"]
        names += ["recommended", "p_starts_best"] if every_option else []
        return self._answered(patients, names, lambda *due: self._lines(*due, every_option), ci_prob=ci_prob)

    def sets(self, patients: Any, *, epsilon: float | None = None, alpha: float = 0.05) -> Any:
        """Sets of options for each patient at the decision that is due next: near the best, equivalent, likely to hold the best.

        Parameters
        ----------
        patients : pandas, polars or pyarrow frame
            As for :meth:`recommend`.
        epsilon : float, optional
            Difference in utility that does not matter; by default the study's `mcid`.
        alpha : float
            One minus the probability with which a set is to hold the best option.

        Returns
        -------
        frame of the caller's kind
            One row per patient and feasible option. Columns: the patient's identifier, ``decision``,
            ``option``, ``recommended``, ``expected_utility``, ``shortfall`` (below the recommended
            option's), ``near_best`` (shortfall at most epsilon), ``p_near_best`` (probability that the
            option's value lies within epsilon of the highest), ``p_equivalent`` (probability that it
            differs from the recommended option's by at most epsilon: the region of practical
            equivalence), ``p_best``, ``in_set`` (in the smallest set that holds the best option with
            probability 1 - alpha at least; options exactly as probable as the last one needed are in it
            too), ``set_probability``, ``verdict``.

        Raises
        ------
        DecisionError

        Warns
        -----
        VerdictWarning
            When the posterior's checks fail.
        """
        margin = checked(self, epsilon, alpha, "sets")
        return self._answered(patients, list(COLUMNS), lambda *due: lines(self, *due[:3], margin, alpha), epsilon=margin)

    def ties(self, *, epsilon: float | None = None, alpha: float = 0.05) -> Ties:
        """How often options tie, decision by decision, over the observed patients.

        Parameters
        ----------
        epsilon, alpha : float
            As for :meth:`sets`.

        Returns
        -------
        Ties
        """
        return ties(self, checked(self, epsilon, alpha, "ties"), alpha)

    def looked_at(self, decision: str) -> tuple[str, ...]:
        """Variables before a decision that its recommendation may depend on, in time order."""
        from .explaining.neighbors import looked_at

        study = self.posterior.study
        return looked_at(study, self.posterior.compiled, study.stage(decision) - 1, self.methods[decision].startswith(REGRESSION))

    @functools.cached_property
    def neighborhoods(self) -> dict[str, Any]:
        """Per decision the observed patients who reached it, ready to be compared with others."""
        from .explaining.neighbors import Neighborhood

        return {d.name: Neighborhood.of(self, d) for d in self.posterior.study.decisions}

    @functools.cached_property
    def prior(self) -> Any:
        """The study under draws of its prior, or a sentence where it has none; sampled once, when first asked for."""
        from .explaining.overlap import prior_world

        return prior_world(self)

    def overlap(self, patients: Any) -> Any:
        """How far the recommendation for each patient extrapolates: a frame; see :func:`bayesdtr.decision.explaining.overlap.overlap`."""
        from .explaining.overlap import overlap

        return overlap(self, patients)

    def extrapolation(self, *, width: bool = True, drawn: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> Any:
        """How far recommendations extrapolate over the observed patients; see :func:`bayesdtr.decision.extrapolation.extrapolation`."""
        from .explaining.extrapolation import extrapolation

        return extrapolation(self, width=width, drawn=drawn)

    def explain(
        self, patients: Any, *, patient: Any = None, against: str | None = None, nearest: int = 10, ci_prob: float = 0.95
    ) -> "Explanation":
        """Explain the recommendation for one patient; see :func:`bayesdtr.decision.explaining.explain.explain`."""
        from .explaining.explain import explain

        return explain(self, patients, patient=patient, against=against, nearest=nearest, ci_prob=ci_prob)

    def gates(self, patients: Any) -> Any:
        """What safety gates say of every option of each patient at the decision that is due next: the record of when they act.

        Parameters
        ----------
        patients : pandas, polars or pyarrow frame
            As for :meth:`recommend`.

        Returns
        -------
        frame of the caller's kind
            One row per patient, feasible option and gate. Columns: the patient's identifier, ``decision``, ``option``, ``response``,
            ``limit``, ``p_beyond`` (posterior probability of being beyond it; NaN where the option is the only one), ``p_error`` (its
            Monte Carlo standard error at most, by the smallest bulk ESS), ``probability`` (more than which removes it), ``removed``,
            ``shielded`` (all were removed, and the default stands in), ``mc_tie`` (the two lie within two such errors: simulation
            could have decided), ``recommended``, ``verdict``.

        Warns
        -----
        VerdictWarning
            When the posterior's checks fail.
        """
        study, guard = self.posterior.study, self.safety
        return self._answered(patients, GATE_COLUMNS, lambda decision, a, index, rows: (
            record_lines(self, decision, rows, index, a.choice) if guard is not None and guard.at(study, decision.name) else []))

    def shield(self) -> Shield:
        """Where safety gates removed options among the observed patients, and where the default stood in."""
        return shield(self)

    def _answered(self, patients: Any, names: Sequence[str], lines: Lines, **how: float) -> Any:
        """A frame of the caller's kind with lines for every patient's next decision."""
        study, verdict = self.posterior.study, self.posterior.verdict
        warn_if_failed(verdict, stacklevel=4)
        new = read_new(study, patients, cluster_labels=self.posterior.trajectories.cluster_labels)
        waiting = next_decision(self.posterior, new)
        table: dict[str, list[Any]] = {n: [] for n in ("row", *names)}
        for stage, decision in enumerate(study.decisions):
            index = np.flatnonzero(waiting == stage)
            if index.size:
                rows = rows_before(self.posterior, new, decision.name, index)
                for line in lines(decision, self.assess(decision.name, rows, **how), index, rows):
                    for name, value in line.items():
                        table[name].append(value)
        order = np.argsort(table["row"], kind="stable")
        rows = np.asarray(table.pop("row"), dtype=int)[order]
        columns: dict[str, Any] = {study.id or "patient": [str(x) for x in new.ids[rows]]}
        return like(backend(patients), columns | {n: [v[i] for i in order] for n, v in table.items()})

    def _lines(self, decision: Decision, a: Assessment, index: np.ndarray, rows: Rows, every_option: bool) -> Iterator[dict[str, Any]]:
        from .explaining.overlap import overlap_at

        behind = overlap_at(self, decision, rows)
        tie, within, flip = a.mc_tie, a.margin < mcid_of(self.posterior), a.p_flip
        for i, row in enumerate(index):
            shown = np.flatnonzero(np.isfinite(a.expected[i])) if every_option else [a.choice[i]]
            for o in shown:
                line = {
                    "row": int(row), "decision": decision.name, "option": decision.options[o], "expected_utility": float(a.expected[i, o]),
                    "lower": float(a.lower[i, o]), "upper": float(a.upper[i, o]), "p_best": float(a.p_best[i, o]),
                    "regret": float(a.regret[i]), "near_tie": bool(within[i]), "mc_tie": bool(tie[i]), "p_flip": float(flip[i]), **behind.facts(i, o),
                    "verdict": self.posterior.verdict.status,
                }
                if every_option:
                    line |= {"recommended": bool(o == a.choice[i]), "p_starts_best": float(a.p_starts_best[i, o])}
                    best = a.expected[i, a.choice[i]]
                    line["regret"] = float(a.regret[i] + best - a.expected[i, o])
                yield line

    # ---- value and words ---------------------------------------------------------------------------

    def value(self, *, ci_prob: float = 0.95) -> Summary:
        """Posterior of the regime's value under the model, averaged over the observed patients.

        This is the committed value; a model's value of a rule chosen on the same data is optimistic
        on average, which :func:`bayesdtr.honest_value` corrects.
        """
        return summarize(self.value_draws, ci_prob)

    def certainty_equivalent(self, *, ci_prob: float = 0.95) -> "CertaintyEquivalent":
        """The sure total that is worth as much as following the regime, in units of the utility before its attitude to risk.

        Returns
        -------
        CertaintyEquivalent

        Raises
        ------
        DecisionError
            Where the study's utility has no attitude to risk: its value is in these units already.
        """
        attitude = self.posterior.study.utility.attitude
        if attitude is None:
            raise DecisionError("certainty_equivalent: the study's utility has no attitude to risk, so that value() is its own certainty equivalent.")
        return certain_of(attitude, self.value(ci_prob=ci_prob))

    @property
    def value_error(self) -> float:
        """Monte Carlo standard error of the mean value."""
        return float(batch_error(self.value_draws))

    def rules(self) -> list[str]:
        """The regime as a readable if-then list, one line per branch."""
        from .reading.readable import rule_lines

        return rule_lines(self)

    def cells(self) -> list[Any]:
        """What is recommended in each cell of the discrete history; see :class:`bayesdtr.decision.reading.readable.Cell`."""
        from .reading.readable import decision_cells

        return decision_cells(self)

    def save(self, path: str | Path) -> Path:
        """Write the regime with its posterior to a NetCDF file, whole or not at all. It holds patients' data."""
        from .files import save_regime

        return save_regime(self, path)

    def __str__(self) -> str:
        lines = [f"Regime for {', '.join(d.name for d in self.posterior.study.decisions)}; value {self.value()}"]
        if self.posterior.study.utility.attitude is not None:
            lines.append(f"  {self.certainty_equivalent()}")
        lines += [f"  {line}" for line in self.rules()] + ([] if self.safety is None else [f"  Safety: {self.safety}"])
        return fold("\n".join(lines + [f"  Worked out at {a}" for a in self.accuracy] + [str(self.posterior.verdict)]))


def warn_if_failed(verdict: Verdict, stacklevel: int = 3) -> None:
    """Warn that rows are no recommendation where the checks fail."""
    if verdict.status == "fail":
        said = "The posterior's checks fail, so these rows are no recommendation: " + verdict.reasons[0]
        warnings.warn(VerdictWarning(said), stacklevel=stacklevel)


def mcid_of(posterior: Posterior) -> float:
    """Smallest difference in utility that matters: declared, or 0.1 SD of the utility of complete patients."""
    if posterior.study.mcid is not None:
        return posterior.study.mcid
    t, study = posterior.trajectories, posterior.study
    utility = sum(earnings(study, t).values(), np.zeros(t.n))
    seen = utility[t.finished(study) & np.isfinite(utility)]
    return 0.1 * float(seen.std(ddof=1)) if len(seen) > 1 else 0.0


def rows_before(posterior: Posterior, trajectories: Trajectories, decision: str, index: np.ndarray) -> Rows:
    """Histories of some patients before a decision."""
    names = [n.name for n in posterior.study.before(decision)]
    cluster = None if trajectories.cluster is None else trajectories.cluster[index]
    return Rows(trajectories.history(names, index), cluster, len(index))


def next_decision(posterior: Posterior, trajectories: Trajectories) -> np.ndarray:
    """Index of the decision each patient is to be answered at; the number of decisions for those with none.

    That is the first decision not made although everything before it is observed. A forced decision
    that the door filled in is still answered while nothing after it is observed. A patient between
    a decision and its response has none.
    """
    study = posterior.study
    waiting = np.full(trajectories.n, len(study.decisions))
    for stage, decision in enumerate(study.decisions):
        known = trajectories.reached(study, decision.name)
        begun = np.any([trajectories.observed(r.name) for r in study.after(decision.name)], axis=0)
        rows = np.flatnonzero(known & ~begun)
        if rows.size:
            made = trajectories.observed(decision.name)[rows]
            forced = made & (feasible_options(posterior, trajectories, decision.name, rows).sum(axis=1) == 1)
            waiting[rows[~made | forced]] = stage
    return waiting


def feasible_options(posterior: Posterior, trajectories: Trajectories, decision: str, rows: np.ndarray) -> np.ndarray:
    """Feasible options of some patients at a decision, shape (row, option)."""
    names = [n.name for n in posterior.study.before(decision)]
    open_ = np.ones((len(rows), len(posterior.study[decision].options)), dtype=bool)  # type: ignore[union-attr]
    return posterior.study.feasible(decision, trajectories.history(names, rows)) if names else open_
