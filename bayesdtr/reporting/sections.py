"""Sections of a report up to the checks of the model: identification, estimand, design, priors, data, computation, checks."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import plot
from ..data import gaps
from ..decision.accuracy import Accuracy
from ..decision.compare import followed
from ..decision.regime import mcid_of
from ..inference import Convergence
from ..inference.check import DIVERGENT_FAIL, ESS_FAIL, ESS_WARN, PREDICTIVE_WARN, RHAT_FAIL, RHAT_WARN
from ..inference.files import versions
from ..inference.prior_table import PriorLine
from ..inference.prior_table import priors as prior_table
from ..inference.stacked import STACKED
from ..plot.priors import priors_in_force
from ..plot.style import SPARSE
from ..study.describe import equation, timeline_lines
from ..study.models import Hierarchical, UserModel
from ..study.structures import interactions_of
from ..study.timeline import Decision
from .blocks import NOT_PROVIDED, Block, Code, Heading, Paragraph, Points, Section, amount, chance, digits_for, interval, table
from .material import Material, study_hash
from .pictures import picture
from .stacked import TERM, computed, draws_of, shift_of, sources, weights_of


def identification(m: Material, today: datetime.date) -> Section:
    """Item 1."""
    posterior = m.regime.posterior
    rows = [
        ("Date", today.isoformat()),
        *((f"Study declaration{f' of {name}' if name else ''}, SHA-256", study_hash(s)) for name, s in sources(posterior)),
        ("Data, SHA-256", posterior.trajectories.hash), ("Patients", posterior.trajectories.n),
        ("Engine", TERM if posterior.engine == STACKED else posterior.engine), ("Seed", posterior.seed),
        ("Draws", draws_of(posterior.engine, posterior.shape)),
        ("Packages", ", ".join(f"{n} {v}" for n, v in versions().items())),
    ]
    return Section("identification", "Identification", "BARG, ICH E20 draft", (table(("", ""), rows),))


def estimand(m: Material) -> Section:
    """Item 3."""
    study, declared = m.study, list(m.study.estimand)
    weights = ", ".join(
        f"{r.name} (weight {study.linear.weight(r.name):g})" if study.linear.weight(r.name) else r.name
        for r in study.responses if r.name in study.utility.names
    )
    regime = "the recommended regime, written out in the section on results" + ("" if not m.withheld else " (withheld: the checks fail)")
    reference = study.reference.label if study.reference else NOT_PROVIDED
    baseline = ", ".join(b.name for b in study.baselines)
    population = f"patients like the {m.regime.posterior.trajectories.n} studied" + (f", with their distribution of {baseline}" if baseline else "")
    seen = ", ".join(b.name for b in study.baselines if b.sensitive)
    sensitive = "; ".join([f"{', '.join(b.name for b in study.audited)}: for the audit only, seen by neither models nor rules"] * bool(study.audited)
                          + [f"{seen}: seen by models and rules, as the study asks"] * bool(seen))
    rows = [
        ("Population", population),
        *([("Sensitive covariates", sensitive)] if sensitive else []),
        ("Treatment", f"{regime}; compared with each embedded regime and with the reference regime: {reference}"),
        ("Variable", f"{weights}; utility {study.utility}"),
        *((f"Intercurrent event: {event}", sentence) for event, sentence in declared),
        *([] if declared else [("Intercurrent events", NOT_PROVIDED)]),
        ("Summary", "mean of the utility if every patient followed the regime; contrasts are differences of means"),
        ("Smallest difference that matters", f"{study.mcid:g} (declared)" if study.mcid else
         f"{mcid_of(m.regime.posterior):.3g} (default: 0.1 SD of the utility)"),
    ]
    return Section("estimand", "Estimand", "ICH E9(R1)", (table(("Attribute", "In this analysis"), rows),))


# ---- timeline, model, assumptions ---------------------------------------------------------------------


def design(m: Material) -> Section:
    """Item 4."""
    study = m.study
    equations: list[Block] = []
    for name, declared in sources(m.regime.posterior):
        equations += [Paragraph(f"Model {name}:")] if name else []
        for response in declared.responses:
            first, *rest = equation(declared, response)
            equations.append(Code("\n".join([first, *(f"    {line}" for line in rest)])))
    kinds = [r.model for _, declared in sources(m.regime.posterior) for r in declared.responses]
    notes = []
    if any(isinstance(k, Hierarchical) for k in kinds):
        notes.append("Covariates enter divided by their SD. Every contrast of treatments (“a vs b”) is normal around zero with the common scale tau, "
                     "every interaction with covariates and responses with the smaller scale tau_interaction, every interaction between decisions "
                     "with tau_combination; the scales are estimated. Contrasts sum to zero within each set of feasible options.")
    shrunk = {interactions_of(study, r) for r in study.responses if isinstance(r.model, Hierarchical)}
    if "horseshoe" in shrunk:
        notes.append("Regularized horseshoe: most interactions are pulled to nearly zero, few escape; the contrasts of one set of options in one "
                     "variable share their scale.")
    if "r2d2" in shrunk:
        notes.append("R2D2: a prior on the share of variance that all interactions explain, divided among them.")
    if any(isinstance(r.model, Hierarchical) and "s(" in f"{r.model.covariates}{r.model.modifiers}" for r in study.responses):
        notes.append("s(x): a smooth curve in x, a linear trend plus a Gaussian process with squared-exponential covariance, resolved to 3 SD from "
                     "the mean and level beyond.")
    if any(isinstance(r.model, Hierarchical) and r.model.sequences for r in study.responses):
        notes.append("Sequences of options have effects of their own, normal around zero with the common scale tau_sequence.")
    if study.patient_effects:
        notes.append(f"{', '.join(study.patient_effects)} share a normal effect of each patient's own, integrated over; what is expected of a "
                     "patient uses the patient's own earlier responses.")
    if study.cluster:
        notes.append(f"Levels and treatment contrasts vary over {study.cluster} and are partially pooled.")
    if any(isinstance(k, UserModel) for k in kinds):
        notes.append("Models marked as written by the user are identified by their address and a hash of their source.")
    blocks: list[Block] = [
        Heading("Timeline"),
        picture(plot.timeline(study), "The study as a diagram: " + " ".join(timeline_lines(study)),
                "Squares: decisions with their options. Circles: responses. Diamonds: baseline covariates and the utility."),
        Heading("Model"), *equations, Points(tuple(notes)) if notes else Paragraph("Each response depends on its cell only; nothing is pooled."),
        *weights_of(m.regime.posterior),
        Heading("Causal assumptions, and who guarantees each"),
        table(("Assumption", "What it says here", "Guaranteed by"), _assumptions(m)),
    ]
    return Section("design", "Timeline, model and assumptions", "ROBUST, BARG, ICH E9(R1)", tuple(blocks))


def _assumptions(m: Material) -> list[tuple[str, str, str]]:
    rows = [("Consistency", "A patient's outcome under the treatments received is the one that the regime would have produced; one patient's "
             "treatment does not affect another's outcome.", "the analyst")]
    sparse = {c.decision for c in m.regime.posterior.verdict.positivity for n in c.counts if n < SPARSE}
    for d in (d for d in m.study.decisions if any(len(s) > 1 for s in d.sets)):
        randomized = d.assigned == "randomized"
        what = ("Assignment depends on nothing but the recorded history, by randomization." if randomized else
                "Given the recorded history, the choice of treatment is unrelated to how the patient would have fared: nothing unrecorded drove "
                "both.")
        rows.append((f"Sequential exchangeability at {d.name}", what, "the design" if randomized else "the analyst (treatments were observed)"))
        thin = f" Some option was received by fewer than {SPARSE} patients of a cell: see the table of positivity." if d.name in sparse else ""
        what = "Every feasible option had a positive probability in every history that offers it." + thin
        rows.append((f"Positivity at {d.name}", what, "the design" if randomized else "the analyst (seen in the counts only)"))
    shift, at_random = shift_of(m.regime.posterior), "is missing is unrelated to what it would have been, given the recorded history."
    moved = f"Not at random: the {shift['said']}. The data do not inform this shift. What else " if shift else "What "
    rows.append(("Missing data", moved + at_random, "the analyst"))
    rows.append(("Model", "The equations above describe the responses well enough; the checks of the model probe part of this.", "the analyst"))
    return rows


# ---- priors -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prior:
    """What the prior says before any data, where it was worked out: P(starts best) by option, and simulated outcomes."""

    starts_best: Mapping[str, Any] | None
    outcomes: Mapping[str, np.ndarray] | None


def _size(line: PriorLine | None) -> str:
    """The effective sample size of a prior, in words where there is none."""
    if line is None or line.ess is None:
        return "has none" if line is not None and line.address.split(".")[0] in ("sigma", "cluster_sd", "cluster_treatment_sd") else NOT_PROVIDED
    return f"{line.ess:.1f}" if line.ess < 100 else f"{line.ess:.0f}"


def priors(m: Material, prior: Prior) -> Section:
    """Item 5."""
    starts_best = prior.starts_best
    posterior = m.regime.posterior
    worth = prior_table(posterior)
    size = {(line.response, line.address): line for line in worth.lines}
    rows = [(f"{r.response}.{r.address}", r.declared, r.text, r.source, r.reason, _size(size.get((r.response, r.address))))
            for r in priors_in_force(posterior)]
    rows += [(f"{line.response}.{line.address}", line.prior, line.prior, line.source, line.reason, _size(line))
             for line in worth.lines if line.method == "patients"]
    rows += [(f"{name}: {r.name}" if name else r.name, "in the model function", r.model.address, "user", "see the function's source", NOT_PROVIDED)
             for name, declared in sources(posterior) for r in declared.responses if isinstance(r.model, UserModel)]
    blocks: list[Block] = [
        table(("Address", "As declared", "Numbers in force", "Source", "Reason", "Effective sample size"), rows),
        picture(plot.priors(posterior), "Density of each prior: " + "; ".join(f"{r[0]} {r[2]}" for r in rows),
                "Prior densities, in the units named."),
        Heading("What the priors say about the options before any data"),
    ]
    if starts_best:
        flat = [(k, v) for k, v in starts_best.items() if not isinstance(v, Mapping)]
        flat += [(f"{d}: {o}", p) for d, inner in starts_best.items() if isinstance(inner, Mapping) for o, p in inner.items()]
        blocks += [Paragraph("Probability, under the priors alone, that each option starts the best regime:"),
                   table(("Option", "Prior P(starts best)"), [(o, f"{float(p):.3f}") for o, p in flat], numeric=(1,))]
    else:
        blocks.append(Paragraph(f"Prior probability that each option starts the best regime: {NOT_PROVIDED}."))
    blocks.append(Heading("What the priors say about the responses before any data"))
    if prior.outcomes:
        blocks.append(picture(plot.prior_predictive(posterior, prior.outcomes), "Outcomes expected under the prior beside those observed.",
                              "Outcomes simulated from the prior, each patient's own history given, beside the observed ones."))
    else:
        blocks.append(Paragraph(f"Prior predictive distribution: {NOT_PROVIDED}."))
    conflicts = tuple(f"{line.response}.{line.address}: {line.conflict}." for line in worth.lines if line.conflict)
    if conflicts:
        blocks += [Heading("Whether the data contradict what was borrowed"), Points(conflicts)]
    blocks += [Paragraph(note, "note") for note in worth.notes]
    return Section("priors", "Priors", "ROBUST, BARG", tuple(blocks))


# ---- data ---------------------------------------------------------------------------------------------


def data(m: Material) -> Section:
    """Item 6."""
    t, study = m.regime.posterior.trajectories, m.study
    reached, rows, drawn = np.ones(t.n, dtype=bool), [], gaps(study, t.columns)
    for node in study.timeline:
        seen, instead = t.observed(node.name), drawn.get(node.name, np.zeros(t.n, dtype=bool))
        rows.append((study.stage(node.name), node.name, type(node).__name__.lower(), int(reached.sum()), int((reached & seen).sum()),
                     int((reached & ~seen).sum()), int(instead.sum())))
        reached = reached & (seen | instead)
    spread = [(n.name, int(t.observed(n.name).sum()), *_spread(t.columns[n.name][t.observed(n.name)]))
              for n in study.timeline if not isinstance(n, Decision) and t.columns[n.name].dtype.kind == "f"]
    cells = [(c.decision, c.label, option, count, f"fewer than {SPARSE}" if count < SPARSE else "")
             for c in m.regime.posterior.verdict.positivity for option, count in zip(c.options, c.counts, strict=True)]
    blocks: list[Block] = [
        Heading("Missing values by stage"),
        table(("Stage", "Variable", "Kind", "Due", "Recorded", "Missing", "Drawn"), rows, numeric=(0, 3, 4, 5, 6),
              caption="Due: everything before it is recorded or drawn. Drawn: missing values drawn from their model with every posterior draw; what "
                      "else is missing counts for nothing. Stage 0 is baseline."),
        *([Points(t.notes)] if t.notes else []),
        Heading("Variables"),
        table(("Variable", "Recorded", "Mean", "SD", "Lowest", "Highest"), spread, numeric=(1, 2, 3, 4, 5)),
        Heading("Positivity: patients by option in every cell that offers a choice"),
        table(("Decision", "Cell", "Option", "Patients", "Note"), cells, numeric=(3,), strong=[i for i, c in enumerate(cells) if c[3] < SPARSE]),
        Heading("Patients who followed each embedded regime"), *_following(m),
    ]
    return Section("data", "Data", "CONSORT-ACE 2020, BARG", tuple(blocks))


def _spread(values: np.ndarray) -> tuple[str, str, str, str]:
    if not values.size:
        return "–", "–", "–", "–"
    sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
    digits = digits_for(sd)
    return amount(float(values.mean()), digits), amount(sd, digits), amount(float(values.min()), digits), amount(float(values.max()), digits)


def _following(m: Material) -> list[Block]:
    posterior = m.regime.posterior
    t = posterior.trajectories
    known = [np.asarray(t.assignment[d.name]) for d in m.study.decisions if d.name in t.assignment]
    product = np.prod(known, axis=0) if known else np.full(t.n, np.nan)
    rows = []
    for r in m.comparison.rows:
        mask = followed(posterior, r.rules)
        p = product[mask]
        size = NOT_PROVIDED
        if not m.observed_decisions and np.isfinite(p).all():
            size = f"{(1 / p).sum() ** 2 / (1 / p**2).sum():.1f}" if p.size else "0.0"
        rows.append((r.rules.label, int(mask.sum()), size))
    note = ("The effective sample size needs the probabilities of assignment, which nobody set here: treatments were observed."
            if m.observed_decisions else "Effective sample size: of followers weighted by the inverse of their probability of assignment (Kish).")
    return [table(("Regime", "Followers", "Effective sample size"), rows, numeric=(1, 2)), Paragraph(note, "note")]


# ---- computation and checks -----------------------------------------------------------------------------


def computation(m: Material) -> Section:
    """Item 7."""
    posterior = m.regime.posterior
    verdict = posterior.verdict
    rows = [_diagnosed("Parameters", verdict.convergence), _diagnosed("Values of the embedded regimes", m.comparison.convergence)]
    methods = [(a.decision, a.method, *_error_of(a)) for a in m.regime.accuracy] + [("embedded regimes", m.comparison.method, "", "")]
    value = m.regime.value()
    blocks: list[Block] = [
        *(Paragraph(sentence) for sentence in computed(posterior)),
        table(("Quantity", "Largest R-hat", "of", "Smallest bulk ESS", "Smallest tail ESS", "Divergences", "Draws"), rows, numeric=(1, 3, 4, 5, 6)),
        Paragraph(f"Gate: the recommendation is withheld when R-hat exceeds {RHAT_FAIL:g}, an effective sample size (ESS) falls below {ESS_FAIL}, or "
                  f"more than {DIVERGENT_FAIL:.0%} of draws diverge; it is given with a warning above {RHAT_WARN:g}, below {ESS_WARN}, or at any "
                  "divergence; it looks at the parameters and at the value of the regime."),
        Paragraph(f"Verdict: {verdict.status}." + ("" if verdict.reasons else " No reason to doubt was found."), "alarm" if m.withheld else ""),
        *([Points(verdict.reasons)] if verdict.reasons else []),
        Heading("How expected utilities were computed"),
        table(("Decision", "Method", "Numerical error", "What the error is"), methods, numeric=(2,)),
    ]
    if not m.withheld:
        blocks.append(Paragraph(f"Monte Carlo standard error of the regime's mean value: {value.mcse:.2g} (posterior SD {value.sd:.3g})."))
    return Section("computation", "Computation", "BARG, ROBUST", tuple(blocks))


def _error_of(a: Accuracy) -> tuple[str, str]:
    """Numerical error of a decision's expected utilities, and what it is."""
    gap = "" if np.isnan(a.gap) else f"; average fitted value less the value of the rule followed: {a.gap:+.2g} (SE {a.gap_error:.2g})"
    return "not known" if np.isnan(a.error) else f"{a.error:.2g}", a.how + gap


def _diagnosed(what: str, c: Convergence) -> tuple[str, ...]:
    def shown(x: float, form: str) -> str:
        return format(x, form) if np.isfinite(x) else "not applicable"

    return (what, shown(c.rhat, ".3f"), c.rhat_variable, shown(c.ess_bulk, ".0f"), shown(c.ess_tail, ".0f"), str(c.divergences), str(c.draws))


def checks(m: Material) -> Section:
    """Item 8."""
    posterior = m.regime.posterior
    rows = []
    for p in posterior.verdict.predictive:
        digits = digits_for(p.upper - p.lower)
        rows.append((m.study.stage(p.response), p.response, p.statistic, amount(p.observed, digits), interval(p.lower, p.upper, digits), chance(p.p)))
    low = [i for i, p in enumerate(posterior.verdict.predictive) if p.misfit]
    blocks = (
        Paragraph("Replicated data are drawn from the fitted model, each patient's own history given. Where the observed value lies outside most of "
                  "them, the model misses that feature of the data. The same data were used to fit, so these checks are lenient."),
        picture(plot.predictive(posterior), "Observed responses beside replicated ones, by stage; the numbers stand in the table below.",
                "Observed data beside replicated data. Bands and bars: 95% equal-tailed intervals of replicates."),
        table(("Stage", "Response", "Statistic", "Observed", "95% of replicates (equal-tailed)", "Two-sided tail probability"), rows,
              numeric=(0, 3, 4, 5), strong=low,
              caption=f"Bold, and a warning: tail probability below {PREDICTIVE_WARN:g} divided by the number of statistics."),
    )
    return Section("checks", "Posterior predictive checks", "BARG", blocks)
