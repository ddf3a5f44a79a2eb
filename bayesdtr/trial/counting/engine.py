"""Trials of exchangeable patients, simulated by counts: patients drawn range by range, looks analysed by the thousand, finished trials left out."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...runtime import allowed_threads
from ..allocation import Equal, Situation, Thompson, TopTwo
from ..allocation.bounds import bounded
from ..allocation.top_two import top_two
from ..design import TrialDesign
from ..nature import Scenario
from ..records import blank, kept
from ..stopping import LookState
from . import drawing
from .plan import Plan, plan_of
from .values import CountedValues

SHARE = 4096
"""Replicates that one thread takes at a time; no number depends on it."""

TILE = 100
"""Most patients drawn in one call of a compiled program."""


def run(design: TrialDesign, scenario: Scenario, replicates: np.ndarray, *, seed: int, keep: str = "summary") -> dict[str, np.ndarray]:
    """Simulate some replicates of a design to which :func:`applies` says yes.

    The patients are those of the patient-level course: the same uniform numbers decide about assignments and responses, so both engines simulate the
    same trials and differ where P(best), which either takes by quadrature (errors below 3e-8 here), falls on different sides of a number drawn.

    Parameters
    ----------
    design : TrialDesign
    scenario : Scenario
    replicates : array of int, shape (trial,)
    seed : int
    keep : {"summary", "looks"}

    Returns
    -------
    dict of str to array, shape (trial, ...)
        As `records.FIELDS` says. A replicate's records do not depend on the others', to the last bit.
    """
    replicates = np.asarray(replicates)
    plan = plan_of(design, scenario)
    if not len(replicates):
        return blank(design.layout, 0, keep)
    threads = allowed_threads()
    share = min(SHARE, -(-len(replicates) // (threads * drawing.WIDTH)) * drawing.WIDTH)
    parts = [replicates[i : i + share] for i in range(0, len(replicates), share)]
    one = lambda ids: _Share(design, plan, ids, seed, keep).run()  # noqa: E731
    if len(parts) == 1:
        return one(parts[0])
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        made = list(pool.map(one, parts))
    return {name: np.concatenate([m[name] for m in made]) for name in kept(keep)}


class _Share:
    """Some replicates, from the first patient to the last.

    Attributes
    ----------
    counts : array of int, shape (cut, 2 arm, trial)
        Patients, then successes of each arm among the first so many.
    """

    def __init__(self, design: TrialDesign, plan: Plan, replicates: np.ndarray, seed: int, keep: str):
        self.design, self.plan, self.study, self.layout = design, plan, design.study, design.layout
        self.rule, self.replicates, self.detailed = design.allocation[0][1], replicates, keep != "summary"
        self.records = blank(self.layout, len(replicates), keep)
        decision, self.arms = self.study.decisions[0].name, len(self.layout.arms)
        self.assignment = drawing.keys(seed, "assignment", replicates)
        self.response = drawing.keys(seed, f"response:{self.study.responses[0].name}", replicates)
        if plan.burn_in:
            self.lists = drawing.keys(seed, f"burn-in, {decision}, {','.join(str(k) for k in range(self.arms))}", replicates)
        self.counts = np.zeros((len(plan.cuts), 2 * self.arms, len(replicates)), dtype=np.int32)
        self.active = np.ones((len(replicates), self.arms), dtype=bool)
        self.needed = design.adaptive or bool(design.stopping or design.dropping) or self.detailed

    def run(self) -> dict[str, np.ndarray]:
        """Simulate to the end and return the records."""
        plan, going = self.plan, np.arange(len(self.replicates))
        self._begin()
        for look in range(self.layout.looks):
            values = None
            if self.needed:
                values, going = self._look(look, going)
            if not len(going):
                break
            if plan.until[look] > plan.recruited[look]:
                pi = self._probabilities(look, values, going)
                if self.detailed:
                    self.records["probability_look"][going, look] = pi
                self._recruit(going, pi, int(plan.recruited[look]), int(plan.until[look]))
        self._close()
        return self.records

    # ---- patients ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Everybody who enters before the first look is over."""
        plan, everybody = self.plan, np.arange(len(self.replicates))
        first, burn_in = int(plan.recruited[0]), plan.burn_in
        for cut in plan.cuts[(plan.cuts > 0) & (plan.cuts <= first)]:
            if burn_in:
                self.counts[plan.place(cut)] = drawing.blocked(self.lists, self.response, plan.bad, int(min(cut, burn_in)), plan.block, self.arms)
        if first > burn_in:
            rule = Equal() if self.rule.adaptive else self.rule
            pi = rule.probabilities(self._situation(self.active))
            base = drawing.blocked(self.lists, self.response, plan.bad, burn_in, plan.block, self.arms) if burn_in else 0
            self._recruit(everybody, pi, burn_in, first, base)

    def _recruit(self, trials: np.ndarray, pi: np.ndarray, begin: int, end: int, base: np.ndarray | int | None = None) -> None:
        """Draw patients ``begin`` to ``end - 1`` of some trials and keep the counts at every cut."""
        plan = self.plan
        so_far = self.counts[plan.place(begin)][:, trials] if base is None else base
        words = self.assignment[:, trials], self.response[:, trials]
        tile = min(TILE, int(np.diff(plan.cuts).max()))
        for cut in plan.cuts[(plan.cuts > begin) & (plan.cuts <= end)]:
            while begin < cut:
                stop = min(begin + tile, int(cut))
                so_far = so_far + drawing.free(*words, pi, plan.bad, begin, stop, tile)
                begin = stop
            self.counts[plan.place(cut)][:, trials] = so_far

    def _situation(self, feasible: np.ndarray) -> Situation:
        """What rules that look at no posterior are asked with."""
        rows = len(feasible)
        none = np.zeros(rows, dtype=int)
        return Situation(self.study, 0, none, {}, feasible, None, None, none, self.design.size, none)  # type: ignore[arg-type]

    def _probabilities(self, look: int, values: CountedValues | None, trials: np.ndarray) -> np.ndarray:
        """Allocation probabilities of the trials that go on, shape (trial, arm); `values` are those of these trials."""
        rule, feasible = self.rule, self.active[trials]
        if isinstance(rule, (Thompson, TopTwo)):
            assert values is not None
            p = values.p_best(feasible)[0]
            if isinstance(rule, Thompson):
                return rule.from_best(p, feasible, np.full(len(p), self.plan.recruited[look]), self.design.size)
            return bounded(top_two(p, rule.beta, feasible), rule.floor, rule.floor_rule, rule.ceiling, feasible)
        return rule.probabilities(self._situation(feasible))

    # ---- looks -------------------------------------------------------------------------------------

    def _values(self, counts: np.ndarray) -> CountedValues:
        """Posterior of some trials' counts, shape (2 arm, trial)."""
        n, yes = counts[: self.arms].T.astype(float), counts[self.arms :].T
        return CountedValues(self.plan.prior[0] + yes, self.plan.prior[1] + n - yes, self.plan.weight, self.plan.margin)

    def _look(self, look: int, trials: np.ndarray) -> tuple[CountedValues, np.ndarray]:
        """Analyse some trials, drop arms, ask the stopping rules; the values and indices of those that go on."""
        plan, rows = self.plan, len(trials)
        values = self._values(self.counts[plan.place(plan.known[look])][:, trials])
        fill = lambda number: np.full(rows, number)  # noqa: E731
        seen = LookState(self.study, self.layout, look, values, self.active[trials], self.active[trials], None, None,  # type: ignore[arg-type]
                         fill(plan.recruited[look]), fill(plan.known[look]), fill(self.design.size - plan.known[look]), self.replicates[trials])
        enough = plan.recruited[look] >= self.design.minimum
        for rule in self.design.dropping:
            if enough:
                self.active[trials] &= ~rule.dropped(seen)
            seen = LookState(**{**seen.__dict__, "active": self.active[trials], "regimes": self.active[trials]})
        statistics = np.full((rows, len(self.design.stopping)), np.nan)
        fired = fill(-1)
        for i, stopping in reversed(list(enumerate(self.design.stopping))):
            if enough:
                statistics[:, i] = stopping.statistic(seen)
            if stopping.binding:
                fired = np.where(statistics[:, i] > stopping.level(look), i, fired)
        self._write(seen, trials, statistics, fired)
        on = np.flatnonzero(fired < 0)
        return values.take(on), trials[on]

    def _write(self, seen: LookState, trials: np.ndarray, statistics: np.ndarray, fired: np.ndarray) -> None:
        """Write down a look, and the decision of trials that end at it."""
        out, look, decided = self.records, seen.look, fired >= 0
        out["path_max"][trials] = np.fmax(out["path_max"][trials], statistics)
        p, mean = seen.values.p_best(seen.regimes)[0], seen.values.mean()
        if self.detailed:
            for name, value in (("time", self.plan.times[look]), ("recruited", seen.recruited), ("known_look", seen.known), ("statistic", statistics),
                                ("p_best_look", p), ("p_best_error", 0.0), ("mean_look", mean), ("sd_look", seen.values.sd()),
                                ("active_look", seen.active)):
                out[name][trials, look] = value
        which = trials[decided]
        out["stopped_at"][which] = look
        chosen = np.where(seen.regimes, mean, -np.inf).argmax(axis=1)
        for name, value in (("stopped_by", fired), ("selected", chosen), ("p_best_decision", p), ("mean_decision", mean),
                            ("sd_decision", seen.values.sd()), ("size", seen.recruited), ("known", seen.known)):
            out[name][which] = value[decided]
        out["duration"][which] = self.plan.times[look]
        for i, rule in enumerate(self.design.stopping):
            if rule.declares and (mine := decided & (fired == i)).any():
                out["declared"][trials[mine]] = rule.declared(seen)[mine]

    def _close(self) -> None:
        """The final analysis of all trials with everything known, overrun included."""
        out, plan = self.records, self.plan
        over = out["stopped_by"] < 0
        out["size"][over] = out["known"][over] = self.design.size
        recruited = out["size"]
        final = self.counts[plan.place(recruited), :, np.arange(len(recruited))].T
        values = self._values(final)
        out["p_best"][:] = values.p_best()[0]
        out["mean"][:], out["sd"][:] = values.mean(), values.sd()
        out["lower"][:], out["upper"][:] = values.quantile(0.025), values.quantile(0.975)
        out["selected_final"][:] = np.where(self.active, out["mean"], -np.inf).argmax(axis=1)
        out["stopped_at"][over] = self.layout.looks - 1
        out["follow_up"][:] = plan.complete[recruited - 1]
        p = values.p_best(self.active)[0]
        for name, value in (("selected", out["selected_final"]), ("p_best_decision", p), ("mean_decision", out["mean"]), ("sd_decision", out["sd"]),
                            ("duration", out["follow_up"])):
            out[name][over] = value[over]
        out["active"][:] = self.active
        out["allocated"][:] = out["followed"][:] = final[: self.arms].T
        out["total"][:, 0] = final[self.arms :].sum(axis=0)
        out["observed"][:, 0] = out["completed"][:] = recruited
        out["utility"][:] = plan.weight * out["total"][:, 0]
