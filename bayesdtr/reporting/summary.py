'''`summary.json`: the answer as numbers, a stable interface for programs that read what a run found.

Strict JSON in UTF-8: a number that does not exist (no parameter to diagnose, no interval) is
``null``, never NaN. Keys are added in later releases, not renamed; `schema_version` counts breaks.

========================  ==========================================================================
key                       meaning
========================  ==========================================================================
schema_version            1
study                     hash (SHA-256 of the declaration), description (text), timeline (list of lines)
engine, seed, versions    what computed it: engine ("stacked" for a mixture of models), seed, package versions
stacked                   null for one model; else models: [{name, study_hash, description, engine, seed, draws,
                          status}], and weights {response: {model: stacking weight}}
data                      patients (number), hash (SHA-256), notes (sentences of the data door)
diagnostics               status ("ok", "warn", "fail"), reasons, rhat_max, ess_bulk_min, ess_tail_min,
                          divergences, draws; positivity: [{decision, cell {name: label}, options
                          {option: patients}}]; predictive: [{response, statistic, observed, lower, upper, p}]
withheld                  true when the checks fail: every recommendation and value below is then left out
withheld_reason           a sentence, or null
regime                    rules (lines; [] when withheld), methods {decision: how its look-ahead is computed}, accuracy [{decision, method
                          ("enumeration", "closed form", "quadrature", "regression Monte Carlo"), error (of expected utilities, in
                          units of the utility; 0 where exact; null where not known), relative (the same as a share of mcid), gap
                          (average fitted value less the value of the rule followed; null but for a first decision under
                          regression), gap_error, how (what the error is)}]
safety                    null without safety gates; else gates (sentences), defaults {decision: option}, decisions
                          [{decision, patients (with a choice), removed {option: patients}, shielded (patients
                          for whom the default stood in)}]
value                     committed value under the model, averaged over the observed patients: mean, sd,
                          interval [lower, upper] (equal-tailed), ci_prob, mcse; null when withheld
honest_value              average value of rules learned on earlier patients, in later ones: mean, se, interval, ci_prob, basis
                          (a sentence), estimated (decisions whose probabilities were estimated), scored (patients),
                          orders, spread (SD over orders, or null), followers (effective patients), largest_weight,
                          reliable; null when it was not worked out or is withheld
prior_effective_sample_   per prior: response, address, prior (with the numbers in force), source, ess (patients; null where it
size                      has none), method ("information", "variance" or "patients"), learned (posterior SD over prior
                          SD, or null), conflict (a sentence for what was borrowed, or null)
embedded_regimes          per regime: rules (label), branches (lines), mean, sd, interval, p_best
                          (probability of the highest value among the embedded regimes), p_best_mcse,
                          upper_limit (simultaneous, of its difference to the best; on the scale of
                          `best_set`), in_best_set, patients (who followed it), minus_reference
                          {mean, interval} or null. When withheld only rules, branches and patients are kept.
best_set                  probability (simultaneous), scale ("identity" or "log-odds")
reference                 label of the declared standard-of-care regime, or null
decisions                 per decision and cell of the discrete history: decision, cell {name: label},
                          patients, option (recommended to most), expected_utility, p_best, regret,
                          near_tie, mc_tie, options: [{option, expected_utility, interval, p_best, share
                          (of the cell's histories for which it is recommended), patients (who received
                          it)}]. [] when withheld.
extrapolation             rule (a sentence), decisions [{decision, patients (observed, with a choice), extrapolating (share of them for whom
                          fewer than five patients like them received the recommended option), fewest (patients behind a
                          recommendation), largest_weight (inverse probability of the recommended option; null where nobody like a
                          patient received it), width (10 %, 50 % and 90 % quantiles of posterior over prior width, or null)}],
                          no_width (why there is none, or null); null when withheld
ties                      per decision: decision, patients (with a choice), near (share for whom another option lies within epsilon of the
                          best), monte_carlo (share for whom simulation error could have decided), near_best and in_set (options
                          within epsilon, and in the smallest set that holds the best with probability 1 - alpha: averages), epsilon,
                          alpha; null when withheld
value_of_information      expected utility if the parameters become known before each decision, and never: known, values, gains,
                          gain_errors, evpi, evpi_error, method ("tree", or "policies": lower bounds); null when it was not worked out
subgroups                 per grouping handed in: by, margin, gap {mean, interval}, rows [{label, patients, value {mean, interval}, gain
                          {mean, interval} or null, p_loss or null}]; []  when there is none or it is withheld
prior_starts_best         what was handed in: prior probability that each option starts the best regime; or null
========================  ==========================================================================
'''

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..decision import Comparison, InformationValue, Regime, Subgroups, Summary
from ..decision.explaining.extrapolation import RULE, Extrapolation
from ..decision.reading.readable import Cell
from ..errors import FileError
from ..evaluate import HonestValue
from ..inference import Verdict, priors
from ..inference.files import versions, write_whole
from ..schema import SUMMARY_VERSION
from ..study import Study
from ..study.describe import timeline_lines
from .findings import Finding
from .material import Material, strict, study_hash
from .stacked import summary_of_stack


def summary(regime: Regime, comparison: Comparison | None = None, *, prior_starts_best: Mapping[str, Any] | None = None,
            honest_value: HonestValue | None = None, extrapolation: Extrapolation | None = None,
            findings: Sequence[Finding] = ()) -> dict[str, Any]:
    """The answer as a dict of plain numbers, texts, lists and dicts; the module's docstring lists the keys.

    Parameters
    ----------
    regime : Regime
    comparison : Comparison, optional
        Of the same posterior; computed when not given.
    prior_starts_best : mapping, optional
        Prior probability that each option starts the best regime, by option (or by decision and option).
    honest_value : HonestValue, optional
        Of the same study and data.
    extrapolation : Extrapolation, optional
        From ``regime.extrapolation()``; widths are null without it.
    findings : sequence, optional
        Of :func:`bayesdtr.value_of_information` and :func:`bayesdtr.by_group`; others are shown in reports only.

    Returns
    -------
    dict
    """
    return summary_of(Material.of(regime, comparison, honest_value, extrapolation, findings), prior_starts_best)


def write_summary(regime: Regime, path: str | Path, *, comparison: Comparison | None = None,
                  prior_starts_best: Mapping[str, Any] | None = None, honest_value: HonestValue | None = None,
                  extrapolation: Extrapolation | None = None, findings: Sequence[Finding] = ()) -> Path:
    """Write :func:`summary` as strict JSON, whole or not at all.

    Parameters
    ----------
    regime : Regime
    path : str or Path
        Ends in ``.json``.
    comparison : Comparison, optional
    prior_starts_best : mapping, optional
    honest_value : HonestValue, optional
    extrapolation : Extrapolation, optional
    findings : sequence, optional

    Returns
    -------
    Path

    Raises
    ------
    FileError
        When the name ends otherwise, or the folder cannot be written to.
    """
    found = summary(regime, comparison, prior_starts_best=prior_starts_best, honest_value=honest_value, extrapolation=extrapolation,
                    findings=findings)
    return write_json(found, path)


def write_json(content: dict[str, Any], path: str | Path) -> Path:
    """Write a summary to a file."""
    if Path(path).suffix.lower() != ".json":
        raise FileError(f"A summary is written to a .json file, got {str(path)!r}.")
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2) + "\n"
    return write_whole(Path(path), lambda target: target.write_text(text, encoding="utf-8"))


def summary_of(m: Material, prior_starts_best: Mapping[str, Any] | None) -> dict[str, Any]:
    """The summary of gathered material."""
    posterior, comparison = m.regime.posterior, m.comparison
    value = None if m.withheld else m.regime.value()
    return strict({
        "schema_version": SUMMARY_VERSION,
        "study": _study(m.study),
        "engine": posterior.engine, "seed": posterior.seed, "versions": versions(), "stacked": summary_of_stack(posterior),
        "data": {"patients": posterior.trajectories.n, "hash": posterior.trajectories.hash, "notes": list(posterior.trajectories.notes)},
        "diagnostics": _diagnostics(posterior.verdict),
        "withheld": m.withheld,
        "withheld_reason": "The checks of the posterior fail: " + " ".join(posterior.verdict.reasons) if m.withheld else None,
        "regime": {"rules": _rules(m), "methods": dict(m.regime.methods), "accuracy": [dataclasses.asdict(a) for a in m.regime.accuracy]},
        "safety": _safety(m),
        "value": None if value is None else {
            "mean": value.mean, "sd": value.sd, "interval": [value.lower, value.upper], "ci_prob": value.ci_prob, "mcse": value.mcse},
        "honest_value": _honest(m),
        "prior_effective_sample_size": [
            {"response": p.response, "address": p.address, "prior": p.numbers or p.prior, "source": p.source, "ess": p.ess, "method": p.method,
             "learned": p.learned, "conflict": p.conflict} for p in priors(posterior).lines
        ],
        "embedded_regimes": _embedded(m),
        "best_set": {"probability": 1 - comparison.alpha, "scale": comparison.scale},
        "reference": None if m.study.reference is None else m.study.reference.label,
        "decisions": [_decision(c) for c in m.cells],
        "extrapolation": _extrapolation(m),
        "ties": None if m.ties is None else [
            {**dataclasses.asdict(r), "epsilon": m.ties.epsilon, "alpha": m.ties.alpha} for r in m.ties.rows],
        "value_of_information": None if m.withheld else next((_information(f) for f in m.findings if isinstance(f, InformationValue)), None),
        "subgroups": [] if m.withheld else [_subgroups(f) for f in m.findings if isinstance(f, Subgroups)],
        "prior_starts_best": None if prior_starts_best is None else dict(prior_starts_best),
    })


def _safety(m: Material) -> dict[str, Any] | None:
    guard = m.regime.safety
    if guard is None or m.withheld:
        return None
    return {"gates": [str(g) for g in guard.gates], "defaults": dict(guard.defaults), "decisions": [
        {"decision": c.decision, "patients": c.patients, "removed": dict(c.removed), "shielded": c.shielded} for c in m.regime.shield().counts]}


def _honest(m: Material) -> dict[str, Any] | None:
    if m.honest is None or m.withheld:
        return None
    h = m.honest
    return {"mean": h.mean, "se": h.se, "interval": [h.lower, h.upper], "ci_prob": h.ci_prob, "basis": h.basis, "estimated": list(h.estimated),
            "scored": h.scored, "orders": len(h.values), "spread": h.spread, "followers": h.followers, "largest_weight": h.largest_weight,
            "reliable": h.reliable}


def _extrapolation(m: Material) -> dict[str, Any] | None:
    if m.extrapolation is None:
        return None
    return {"rule": RULE, "no_width": m.extrapolation.no_width or None, "decisions": [
        {"decision": r.decision, "patients": r.patients, "extrapolating": r.extrapolating, "fewest": r.fewest, "largest_weight": r.largest_weight,
         "width": None if r.width is None else list(r.width)} for r in m.extrapolation.rows]}


def _information(found: InformationValue) -> dict[str, Any]:
    return {"known": [*(f"before {d}" for d in found.decisions), "never"], "values": list(found.values), "gains": list(found.gains),
            "gain_errors": list(found.gain_errors), "evpi": found.evpi, "evpi_error": found.evpi_error, "method": found.method}


def _brief(s: Summary | None) -> dict[str, Any] | None:
    return None if s is None else {"mean": s.mean, "interval": [s.lower, s.upper]}


def _subgroups(found: Subgroups) -> dict[str, Any]:
    return {"by": found.by, "margin": found.margin, "gap": _brief(found.gap), "rows": [
        {"label": g.label, "patients": g.patients, "value": _brief(g.value), "gain": _brief(g.gain), "p_loss": g.p_loss} for g in found.rows]}


def _study(study: Study) -> dict[str, Any]:
    return {"hash": study_hash(study), "description": str(study), "timeline": [line.strip() for line in timeline_lines(study)]}


def _rules(m: Material) -> list[str]:
    return [] if m.withheld else m.regime.rules()


def _diagnostics(verdict: Verdict) -> dict[str, Any]:
    c = verdict.convergence
    return {
        "status": verdict.status, "reasons": list(verdict.reasons), "rhat_max": c.rhat, "ess_bulk_min": c.ess_bulk, "ess_tail_min": c.ess_tail,
        "divergences": c.divergences, "draws": c.draws,
        "positivity": [
            {"decision": p.decision, "cell": dict(p.cell), "options": dict(zip(p.options, p.counts, strict=True))} for p in verdict.positivity
        ],
        "predictive": [
            {"response": p.response, "statistic": p.statistic, "observed": p.observed, "lower": p.lower, "upper": p.upper, "p": p.p}
            for p in verdict.predictive
        ],
    }


def _embedded(m: Material) -> list[dict[str, Any]]:
    found = []
    for r in m.comparison.rows:
        row: dict[str, Any] = {"rules": r.rules.label, "branches": r.rules.lines(), "patients": r.patients}
        numbers: dict[str, Any] = {
            "mean": r.value.mean, "sd": r.value.sd, "interval": [r.value.lower, r.value.upper], "p_best": r.p_best, "p_best_mcse": r.p_best_error,
            "upper_limit": r.upper_limit, "in_best_set": r.in_best_set,
            "minus_reference": None if r.contrast is None else {"mean": r.contrast.mean, "interval": [r.contrast.lower, r.contrast.upper]},
        }
        found.append(row | (dict.fromkeys(numbers) if m.withheld else numbers))
    return found


def _decision(cell: Cell) -> dict[str, Any]:
    top = next(o for o in cell.options if o.option == cell.option)
    return {
        "decision": cell.decision, "cell": dict(cell.history), "patients": cell.patients, "option": cell.option,
        "expected_utility": top.expected_utility, "p_best": top.p_best, "regret": cell.regret, "near_tie": cell.near_tie, "mc_tie": cell.mc_tie,
        "options": [
            {"option": o.option, "expected_utility": o.expected_utility, "interval": [o.lower, o.upper], "p_best": o.p_best, "share": o.share,
             "patients": o.patients}
            for o in cell.options
        ],
    }
