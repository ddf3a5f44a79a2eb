"""`replay`: one simulated trial, look by look and patient by patient: the example trial that regulators ask for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import TrialError
from ...text import fold
from ..nature import bind
from ..records import kept
from .driving import whole
from .folder import session
from .run import Run
from .workers import Runner

if TYPE_CHECKING:
    from pandas import DataFrame

WIDTH = 100


@dataclass(frozen=True, eq=False)
class Replay:
    """One replicate of a run, with all its detail.

    Attributes
    ----------
    run : Run
    id : int
    records : mapping of str to array, shape (...)
        As `bayesdtr.trial.records.FIELDS` says, without the leading axis.
    """

    run: Run
    id: int
    records: dict[str, np.ndarray]

    @property
    def reached(self) -> int:
        """Number of looks that the trial came to."""
        return int((self.records["recruited"] >= 0).sum())

    @property
    def decision(self) -> str:
        """How recruitment ended, in words."""
        r, layout = self.records, self.run.layout
        best = layout.regime_labels[int(r["selected"])]
        declared = [n for n, d in zip(layout.regime_labels, r["declared"], strict=True) if d]
        how = (f"Stopped at look {int(r['stopped_at']) + 1} by {layout.rules[int(r['stopped_by'])]}" if r["stopped_by"] >= 0
               else "No stopping rule fired")
        return (f"{how}; {int(r['size'])} patients recruited, {int(r['known'])} with follow-up complete, at time {float(r['duration']):g}. "
                f"Declared superior: {', '.join(declared) or 'none'}. Selected: {best}.")

    def looks(self) -> "DataFrame":
        """One row per look that the trial came to.

        Returns
        -------
        pandas.DataFrame
            ``look`` (from 1), ``time``, ``recruited``, ``known``, ``decision`` (the rule that stopped recruitment, or "go on"), and columns named
            ``P(best) REGIME``, ``mean REGIME``, ``sd REGIME``, ``allocation ARM``, ``active ARM``, ``statistic RULE``, ``level RULE``.
        """
        import pandas as pd

        r, layout, rows = self.records, self.run.layout, []
        for look in range(self.reached):
            stops = int(r["stopped_by"]) if look == int(r["stopped_at"]) else -1
            row = {"look": look + 1, "time": float(r["time"][look]), "recruited": int(r["recruited"][look]), "known": int(r["known_look"][look]),
                   "decision": "go on" if stops < 0 else f"stop: {layout.rules[stops]}"}
            for i, regime in enumerate(layout.regime_labels):
                row |= {f"P(best) {regime}": r["p_best_look"][look, i], f"mean {regime}": r["mean_look"][look, i],
                        f"sd {regime}": r["sd_look"][look, i]}
            for i, arm in enumerate(layout.arm_labels):
                row |= {f"allocation {arm}": r["probability_look"][look, i], f"active {arm}": bool(r["active_look"][look, i])}
            for i, rule in enumerate(self.run.design.stopping):
                row |= {f"statistic {layout.rules[i]}": r["statistic"][look, i], f"level {layout.rules[i]}": rule.level(look)}
            rows.append(row)
        return pd.DataFrame(rows)

    def patients(self) -> "DataFrame":
        """One row per patient recruited, in the order of enrolment.

        Returns
        -------
        pandas.DataFrame
            ``patient`` (from 1), ``enrolled``, the cluster and the covariates; for each decision the option assigned, its ``probability DECISION``
            and ``look DECISION`` (the look whose probabilities were in force, from 1; 0: burn-in); for each response its value. Labels where there
            are any.
        """
        import pandas as pd

        r, layout = self.records, self.run.layout
        rows = int(r["size"])
        made: dict[str, object] = {"patient": np.arange(1, rows + 1), "enrolled": r["enrolled_at"][:rows], **self._baseline(rows)}
        for d, name in enumerate(layout.decisions):
            options = [o for decision, o in layout.arms if decision == name]
            made |= {name: [options[c] if c >= 0 else None for c in r["option"][:rows, d]], f"probability {name}": r["probability"][:rows, d],
                     f"look {name}": r["look_in_force"][:rows, d].astype(int) + 1}
        for j, response in enumerate(self.run.design.study.responses):
            values, levels = r["outcome"][:rows, j], getattr(response, "levels", None)
            made[response.name] = values if not levels else [levels[int(v)] if v >= 0 else None for v in values]
        return pd.DataFrame(made)

    def _baseline(self, rows: int) -> dict[str, object]:
        """Clusters and covariates, which no record holds: they are drawn again, by the patient's own random numbers."""
        study, scenario = self.run.design.study, self.run.scenario
        if not study.baselines and study.cluster is None:
            return {}
        people = bind(self.run.design, scenario).patients(self.run.seed, np.array([self.id]))
        made: dict[str, object] = {}
        if study.cluster is not None and people.cluster is not None:
            made[study.cluster] = np.array(scenario.clusters.labels)[people.cluster[0, :rows]]
        for b in study.baselines:
            values = people.columns[b.name][0, :rows]
            made[b.name] = np.array(b.levels)[values.astype(int)] if b.levels else values
        return made

    def __str__(self) -> str:
        layout, r = self.run.layout, self.records
        lines = [f"Replicate {self.id} under {self.run.scenario.name!r}, seed {self.run.seed}"]
        for look in range(self.reached):
            lines += ["", f"Look {look + 1}: time {float(r['time'][look]):g}, {int(r['recruited'][look])} recruited, "
                          f"{int(r['known_look'][look])} with follow-up complete"]
            lines += _table(("regime", "P(best)", "mean", "SD"), layout.regime_labels, tuple(r[f"{n}_look"][look] for n in ("p_best", "mean", "sd")))
            closed = r["active_look"][look] == 0
            before = closed if look == 0 else r["active_look"][look - 1] == 0
            lines += _table(("arm", "allocation"), layout.arm_labels, (r["probability_look"][look],),
                            ["dropped now" if c and (look == 0 or not b) else "dropped" if c else "" for c, b in zip(closed, before, strict=True)])
            for i, rule in enumerate(self.run.design.stopping):
                value, level = float(r["statistic"][look, i]), rule.level(look)
                said = "does not apply" if np.isnan(value) else f"{value:.4f}, fires above {level:.4f}{': fires' if value > level else ''}"
                lines.append(f"  {layout.rules[i]}{'' if rule.binding else ' (not binding)'}: {said}")
        lines += ["", self.decision, "", "Final analysis, all outcomes known"]
        lines += _table(("regime", "P(best)", "mean", "SD", "2.5 %", "97.5 %"), layout.regime_labels,
                        tuple(r[n] for n in ("p_best", "mean", "sd", "lower", "upper")))
        lines.append(f"  patients assigned: {', '.join(f'{a} {int(n)}' for a, n in zip(layout.arm_labels, r['allocated'], strict=True))}")
        return "\n".join(part for line in lines for part in (fold(line).splitlines() or [""]))


def _table(head: tuple[str, ...], labels: tuple[str, ...], columns: tuple[np.ndarray, ...], notes: list[str] | None = None) -> list[str]:
    width = min(max(len(head[0]), *(len(x) for x in labels)), WIDTH - 4 - 12 * len(columns) - (13 if notes else 0))
    lines = ["  " + f"{head[0]:<{width}}" + "".join(f"{h:>12}" for h in head[1:])]
    for i, label in enumerate(labels):
        shown = label if len(label) <= width else label[: width - 3] + "..."
        cells = "".join(f"{'-' if np.isnan(c[i]) else format(float(c[i]), '.4f'):>12}" for c in columns)
        lines.append(f"  {shown:<{width}}{cells}{'  ' + notes[i] if notes and notes[i] else ''}")
    return lines


def replay(run: Run, id: int) -> Replay:
    """Simulate one replicate of a run again, with all its detail.

    Parameters
    ----------
    run : Run
    id : int
        Number of the replicate, from 0.

    Returns
    -------
    Replay
        ``print`` tells the trial look by look; `looks()` and `patients()` are frames.

    Raises
    ------
    TrialError
        When there is no such replicate, or it does not come out as it was kept, to the last bit.
    """
    from ..batch import run_batch

    return replayed(run, id, run_batch)


def replayed(run: Run, id: int, runner: Runner) -> Replay:
    """As :func:`replay`, with a given simulator."""
    if not isinstance(run, Run):
        raise TrialError(f"replay takes a Run first, for example simulate(...).runs['null'], got {type(run).__name__}.")
    whole("id", id, 0, run.replicates - 1)
    again = runner(run.design, run.scenario, np.array([id]), seed=run.seed, keep="patients")
    there = run.records(slice(int(id), int(id) + 1))
    for name in kept(run.keep):
        if there[name].tobytes() != again[name].tobytes():
            made = "; ".join(", ".join(f"{n} {v}" for n, v in one.items()) for one in run.versions)
            now = ", ".join(f"{n} {v}" for n, v in session()["versions"].items())
            raise TrialError(f"Replicate {id} does not come out as it was kept: {name!r} is {there[name][0].tolist()} there and "
                             f"{again[name][0].tolist()} now. It was made with {made}; now there is {now}.")
    return Replay(run, int(id), {name: array[0] for name, array in again.items()})
