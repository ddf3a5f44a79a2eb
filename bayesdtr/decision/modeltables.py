"""Tables of a comparison of models, as frames and as text of 100 columns."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..inference.loo import GOOD_K, LeaveOneOut
from ..inference.stacked import STACKED
from ..study.timeline import Decision, Response, finite_values, labels_of
from ..text import fold
from .assess import Assessment
from .reading.readable import evaluation_rows
from .regime import rows_before
from .values import Summary, batch_error, summarize
from .world import Rows

if TYPE_CHECKING:
    from .models import ModelComparison

ALIKE = 4
"""Models that differ by less in expected log predictive density cannot be told apart by it (Sivula et al. 2025)."""
MOST_COLUMNS = 6
"""Models (with the mixture) up to which rules are tabulated under every model."""


# ---- predictive accuracy ---------------------------------------------------------------------------------


def _total(values: np.ndarray) -> tuple[float, float]:
    """Sum over patients and its standard error."""
    v = values[np.isfinite(values)]
    return float(v.sum()), float(np.sqrt(len(v)) * v.std(ddof=1)) if len(v) > 1 else float("nan")


def _accuracy(c: "ModelComparison", loo: LeaveOneOut, best: LeaveOneOut, response: str | None) -> dict[str, Any]:
    points = loo.patients(response)
    elpd, se = _total(points)
    difference, difference_se = _total(points - best.patients(response))
    tables = [loo.khat[response]] if response else list(loo.khat.values())
    p = [loo.p_loo[response]] if response else list(loo.p_loo.values())
    return {
        "patients": int(np.isfinite(points).sum()), "elpd": elpd, "se": se, "difference": difference, "difference_se": difference_se,
        "p_loo": float(sum(np.nansum(x) for x in p)), "khat_worst": float(max(np.nanmax(x) for x in tables)), "khat_above": loo.high(response),
        "refitted": int(np.any([loo.refitted[r] for r in ([response] if response else loo.khat)], axis=0).sum()),
    }


def models_frame(c: "ModelComparison", total: str) -> Any:
    """See :attr:`ModelComparison.models`."""
    import pandas as pd

    lines = []
    for response in [*c.weights, None]:
        best = max(c.loo, key=lambda x: np.nansum(x.patients(response)))
        for k, (name, loo) in enumerate(zip(c.names, c.loo, strict=True)):
            weight = c.weights[response][k] if response else np.nan
            lines.append({"response": response or total, "model": name, **_accuracy(c, loo, best, response), "weight": weight})
    return pd.DataFrame(lines)


# ---- what is recommended -----------------------------------------------------------------------------------


def _label(node: Any, code: float) -> Any:
    labels = labels_of(node)
    if labels is not None:
        return labels[int(code)]
    return int(code) if isinstance(node, Response) and finite_values(node) is not None else float(code)


def _histories(c: "ModelComparison", decision: Decision) -> tuple[Rows, np.ndarray]:
    """Distinct histories that offer a choice at a decision, and how many patients were observed at each."""
    stacked = c.stacked
    t, before = stacked.trajectories, [n.name for n in stacked.study.before(decision.name)]
    seen = np.all([t.observed(n) for n in before], axis=0) if before else np.ones(t.n, dtype=bool)
    observed = rows_before(stacked, t, decision.name, np.flatnonzero(seen))
    asked = evaluation_rows(stacked, decision)
    columns = {n: np.concatenate([asked.columns[n], observed.columns[n]]) for n in asked.columns}
    cluster = None if asked.cluster is None else np.concatenate([asked.cluster, observed.cluster])  # type: ignore[list-item]
    together = Rows(columns, cluster, asked.n + observed.n)
    distinct, inverse = together.unique()
    patients = np.bincount(inverse[asked.n :], minlength=distinct.n)
    several = stacked.study.feasible(decision.name, distinct.columns).sum(axis=1) > 1 if distinct.columns else np.array([len(decision.options) > 1])
    choice = np.flatnonzero(several)
    return distinct.take(choice), patients[choice]


def _losses(a: Assessment, choice: np.ndarray) -> np.ndarray:
    """Expected utility lost by another choice than the assessed one, shape (row,)."""
    rows = np.arange(len(choice))
    return a.expected[rows, a.choice] - a.expected[rows, choice]


def recommendations_frame(c: "ModelComparison") -> Any:
    """See :attr:`ModelComparison.recommendations`."""
    import pandas as pd

    parts, study = [], c.stacked.study
    for decision in study.decisions:
        rows, patients = _histories(c, decision)
        if not rows.n:
            continue
        found = {name: regime.assess(decision.name, rows, ci_prob=c.ci_prob) for name, regime in c.regimes.items()}
        stacked = found[STACKED]
        columns: dict[str, Any] = {"decision": [decision.name] * rows.n}
        columns |= {n: [_label(study[n], code) for code in column] for n, column in rows.columns.items()}
        if rows.cluster is not None:
            labels = [*c.stacked.trajectories.cluster_labels, "(new)"]
            columns[str(study.cluster)] = [labels[i] for i in rows.cluster]
        columns["patients"] = patients
        columns |= {n: [decision.options[o] for o in a.choice] for n, a in found.items()}
        columns["differ"] = np.any([found[n].choice != found[c.names[0]].choice for n in c.names], axis=0)
        columns["near_tie"] = stacked.margin < c.mcid
        columns |= {f"loss: {n}": _losses(stacked, found[n].choice) for n in c.names}
        parts.append(pd.DataFrame(columns))
    if not parts:
        return pd.DataFrame({"decision": []})
    table = pd.concat(parts, ignore_index=True)
    history = [n for n in (*study.names, str(study.cluster)) if n in table]
    return table[["decision", *history, *(n for n in table.columns if n not in ("decision", *history))]]


def agreement_frame(c: "ModelComparison") -> Any:
    """See :attr:`ModelComparison.agreement`."""
    import pandas as pd

    table, lines = c.recommendations, []
    for decision, rows in table.groupby("decision", sort=False):
        n = rows["patients"].to_numpy(dtype=float)
        share = n / n.sum() if n.sum() else np.full(len(n), 1 / len(n))  # nobody was observed there: cells count alike
        line = {
            "decision": decision, "patients": int(n.sum()), "differ": float(share @ rows["differ"]),
            "differ_beyond": float(share @ (rows["differ"] & ~rows["near_tie"])),
        }
        for name in c.names:
            line[f"agrees: {name}"] = float(share @ (rows[name] == rows[STACKED]))
            line[f"loss: {name}"] = float(share @ rows[f"loss: {name}"])
        lines.append(line)
    return pd.DataFrame(lines)


# ---- values ------------------------------------------------------------------------------------------------


def values_frame(c: "ModelComparison") -> Any:
    """See :attr:`ModelComparison.values`."""
    import pandas as pd

    lines, draws = [], c.cross.draws
    for rule, model in draws:
        v, lost = summarize(draws[rule, model], c.ci_prob), draws[model, model] - draws[rule, model]
        lines.append({
            "rule": rule, "model": model, "mean": v.mean, "sd": v.sd, "lower": v.lower, "upper": v.upper, "mcse": v.mcse,
            "lost": float(lost.mean()), "lost_mcse": float(batch_error(lost)),
        })
    return pd.DataFrame(lines)


# ---- text ----------------------------------------------------------------------------------------------------


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def text(c: "ModelComparison", total: str) -> str:
    """The comparison as text."""
    parts = [_accuracy_text(c, total), _agreement_text(c), _values_text(c)]
    if any(p.verdict.status == "fail" for p in c.posteriors):
        failed = ", ".join(n for n, p in zip(c.names, c.posteriors, strict=True) if p.verdict.status == "fail")
        parts.insert(0, [f"The checks of {failed} fail: these numbers are no ground for a choice."])
    return "\n\n".join(fold("\n".join(lines)) for lines in parts)


def _accuracy_text(c: "ModelComparison", total: str) -> list[str]:
    width = min(max(5, *(len(n) for n in c.names)), 24)
    patients = c.posteriors[0].trajectories.n
    lines = [f"Predicting a patient left out ({patients} patients, Pareto smoothed importance sampling)",
             f"  {'model':<{width}} {'elpd':>9} {'SE':>7} {'difference':>10} {'SE':>6} {'p_loo':>6} {'worst k':>7} {f'k > {GOOD_K}':>7} "
             f"{'weight':>7}"]
    for response, rows in c.models.groupby("response", sort=False):
        lines.append(f"{response}")
        for r in rows.itertuples():
            weight = "" if np.isnan(r.weight) else f"{r.weight:.3f}"
            k = f"{r.khat_worst:.2f}" if np.isfinite(r.khat_worst) else "none"
            lines.append(f"  {_short(r.model, width):<{width}} {r.elpd:>9.1f} {r.se:>7.1f} {r.difference:>10.1f} {r.difference_se:>6.1f} "
                         f"{r.p_loo:>6.1f} {k:>7} {r.khat_above:>7} {weight:>7}".rstrip())
    lines.append("elpd: expected log predictive density. Difference: to the best model, paired by patient.")
    lines.append("Weight: stacked per response, for the best prediction; not the probability of a model.")
    single = c.models[c.models["response"] != total]
    if (alike := single.groupby("response", sort=False)["difference"].min() > -ALIKE).any():
        lines.append(f"Differences below {ALIKE} ({', '.join(alike.index[alike])}): models predict nearly alike, and such weights move with chance; "
                     "what matters is whether recommendations and values do.")
    if refitted := int(c.models[c.models["response"] == total]["refitted"].sum()):
        lines.append(f"Fitted again without the patient, hence exact: {refitted} estimates with k above {GOOD_K}.")
    if any(x.high() for x in c.loo):
        lines.append(f"k above {GOOD_K}: estimates that are unreliable, likely too high; compare_models(refit=True) makes them exact.")
    return lines


def _agreement_text(c: "ModelComparison") -> list[str]:
    table = c.agreement
    if not len(table):
        return ["No history offers a choice."]
    width = min(max(5, *(len(n) for n in c.names)), 24)
    lines = ["What they recommend, beside the stacked recommendation"]
    for row in table.to_dict("records"):
        who = f"{row['patients']} patients" if row["patients"] else "nobody observed there, cells counted alike"
        lines.append(f"{row['decision']} ({who}): models differ for {row['differ']:.0%}, beyond near-ties for {row['differ_beyond']:.0%}")
        lines += [f"  {_short(n, width):<{width}} agrees for {row[f'agrees: {n}']:>4.0%}, mean loss {row[f'loss: {n}']:.3g}" for n in c.names]
    lines.append(f"Near-tie: another option within {c.mcid:.3g} of the stacked recommendation.")
    lines.append("Loss: expected utility given up at that decision under the stacked posterior, mean over patients.")
    return lines


def _values_text(c: "ModelComparison") -> list[str]:
    names = list(c.regimes)
    width = min(max(len(STACKED), *(len(n) for n in names)), 24)
    prob = f"{c.ci_prob:.0%} interval"
    own = {n: c.regimes[n].value(ci_prob=c.ci_prob) for n in names}
    lines = ["Value of each model's regime under that model", f"  {'model':<{width}} {'mean':>9} {'sd':>8} {prob:>22}"]
    lines += [f"  {_short(n, width):<{width}} {v.mean:>9.4g} {v.sd:>8.3g} {_interval(v):>22}" for n, v in own.items()]
    if len(names) <= MOST_COLUMNS:
        cell = min(max(9, *(len(n) + 1 for n in names)), (96 - width) // len(names))
        lines.append("Value of each rule (row) under each model (column)")
        lines.append(f"  {'rule of':<{width}}" + "".join(f"{_short(n, cell - 1):>{cell}}" for n in names))
        for rule in names:
            lines.append(f"  {_short(rule, width):<{width}}" + "".join(f"{c.cross.draws[rule, m].mean():>{cell}.4g}" for m in names))
    else:
        lines.append("Value of each rule under the stacked posterior")
        lines += [f"  {_short(n, width):<{width}} {c.cross.draws[n, STACKED].mean():>9.4g}" for n in names]
    lost = c.values[c.values["rule"] != c.values["model"]]
    worst = lost.loc[lost["lost"].idxmax()]
    if worst["lost"] > 0:
        lines.append(f"Most is lost by the rule of {worst['rule']} if {worst['model']} holds: {worst['lost']:.3g} (Monte Carlo error "
                     f"{worst['lost_mcse']:.2g}); a difference of {c.mcid:.3g} matters.")
    else:
        lines.append("No rule loses anything under any of the models.")
    lines.append(f"Equal-tailed intervals. Rules under models: {c.cross.method}.")
    return lines


def _interval(v: Summary) -> str:
    return f"{v.lower:.4g} to {v.upper:.4g}"
