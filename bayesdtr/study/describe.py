"""What `print(study)` shows: the timeline, each model as an equation, every prior, the embedded regimes."""

import textwrap
from collections.abc import Mapping, Sequence

from ..errors import StudyError
from .counts import Hurdle, ZeroInflated
from .families import Family
from .missing import covariate_priors, covariate_study, modelled
from .models import Hierarchical, Saturated, UserModel
from .predictor import Basis, Factor, default_predictor, sequence_variables
from .priors import PriorInForce
from .saturated import cells_over, saturated_cells
from .structures import interactions_of
from .study import Study
from .survival import Survival
from .timeline import Baseline, Decision, Response

WIDTH = 98
SHOWN_REGIMES = 12


def _wrap(text: str, indent: int) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=" " * (indent - 2), subsequent_indent=" " * indent, break_on_hyphens=False)


def timeline_lines(study: Study) -> list[str]:
    """One line per variable in time order."""
    kinds = {b.name: f"one of {', '.join(b.levels)}" if b.levels else "a number" for b in (*study.audited, *study.baselines)}
    lines = [f"audit only   {b.name}: {kinds[b.name]}; sensitive: neither models nor rules see it" for b in study.audited]
    for number, node in enumerate(study.timeline, 1):
        if isinstance(node, Baseline):
            what = kinds[node.name] + ("; sensitive, and models and rules see it because the study asks for it" if node.sensitive else "")
            what += "; missing values are drawn from its model" if node.missing else ""
            what += "; periods in time order, over which levels drift" if node.drift else ""
            lines.append(f"{number}. baseline  {node.name}: {what}")
        elif isinstance(node, Decision):
            stage = study.stage(node.name)
            how = "observed, not randomized" if node.assigned == "observed" else "randomized" + (
                "" if node.probability is None else f", probabilities in column {node.probability!r}" if isinstance(node.probability, str)
                else ", " + ", ".join(f"{o} {p:g}" for o, p in node.probability))
            lines.append(f"{number}. decision {stage}  {node.name} ({how})")
            lines += [f"     {'' if not c.tests else f'if {c}: '}{' | '.join(options) or 'the course ends'}" for c, options in node.choices]
        else:
            values = "user-written" if node.family is None else _values(node.family)
            values += "; missing values are drawn from its model" if node.missing == "model" else ""
            if isinstance(node.family, Survival):
                values += f", a time; enters later predictors as log(1 + {node.name}/m)"
            lines.append(f"{number}. response  {node.name}: {values}")
    return lines


def _values(family: Family) -> str:
    """A family with the values it takes."""
    if family.levels is not None:
        return f"{family.name} ({', '.join(family.levels)})"
    if family.support is not None:
        return f"{family.name} {family.support if len(family.support) <= 3 else f'(0 to {family.support[-1]})'}"
    return f"{family.name}({family.base.name})" if isinstance(family, (ZeroInflated, Hurdle)) else family.name


def equation(study: Study, response: Response) -> list[str]:
    """A response's model as an equation, a list of lines."""
    if isinstance(response.model, UserModel):
        return [f"{response.name} ~ {response.model.address} (user-written PyMC model, source hash {response.model.digest})"]
    assert response.family is not None
    if isinstance(response.model, Saturated):
        cells = saturated_cells(study, response)
        given = f"[{', '.join(cells.names)}]"
        law = f"Bernoulli(probability{given})" if response.family.link == "logit" else f"Normal(mean{given}, sigma)"
        return [f"{response.name} ~ {law}", f"one parameter for each of {len(cells.labels)} cells"]
    p = default_predictor(study, response)
    first = "intercept" if response.family.intercept else "0"
    lines = [f"{response.name} ~ {response.family.law}", f"eta{' and zero eta, each' if response.family.zero_part else ''} = {first}"]
    for name, columns in (("beta", p.main), ("tau", p.treatment)):
        if columns:
            lines.append(f"+ {name}: " + " + ".join(c.label for c in columns))
    shrunk = {"horseshoe": " (regularized horseshoe)", "r2d2": " (R2D2)"}.get(interactions_of(study, response), "")
    for name, columns in ((f"tau_interaction{shrunk}", p.interaction), ("tau_combination", p.combination),
                          ("interaction_smooth", p.interaction_smooth)):
        grouped: dict[str, dict[str, None]] = {}
        for column in columns:
            grouped.setdefault(column.factors[0].label, {})[_shown(column.factors[1:])] = None
        lines += [f"+ {name}: {first} × ({' + '.join(others)})" for first, others in grouped.items()]
    if p.drift:
        periods = dict.fromkeys(c.group for c in p.drift)
        lines.append("+ drift: " + " + ".join(f"a random walk over {name}" for name in periods))
    if p.smooth:
        lines.insert(3, "+ smooth: " + " + ".join(dict.fromkeys(_shown(c.factors) for c in p.smooth)))
    if response.name in study.pool_stages:
        lines.append(f"+ tau_pooled, common to {', '.join(study.pool_stages)}: " + " + ".join(c.label for c in p.latest))
    if response.name in study.patient_effects:
        lines.append("+ patient's effect × (" + " + ".join(["patient_effect", *(f"patient_effect_treatment × {c.label}" for c in p.latest)]) + ")")
    if isinstance(response.model, Hierarchical) and response.model.sequences:
        cells = cells_over(study, sequence_variables(study, response))
        lines.append(f"+ tau_sequence: one effect for each of {len(cells.labels)} sequences of {', '.join(cells.names)}")
    if study.cluster:
        lines.append(f"+ {study.cluster} level" + "".join(f" + {study.cluster} × {c.label}" for c in p.latest))
    return lines


def _shown(factors: Sequence[Factor]) -> str:
    """A product of factors; a smooth curve by its variable."""
    return " × ".join(f.source if isinstance(f, Basis) else f.label for f in factors)


def prior_lines(study: Study, response: Response) -> list[str]:
    """One line per prior: address, distribution with numbers, source and reason."""
    rows = _rows(response.name, study.priors(response.name))
    if isinstance(response.model, Saturated) and response.family is not None and response.family.link == "identity":
        law = str(response.model.conjugate) if response.model.conjugate else "p(mean, sigma^2) ∝ 1/sigma^2"
        source = "user" if response.model.conjugate else "default"
        rows.append((f"{response.name}.(mean, sigma)", law, f"[{source}] in place of the two above when engine='exact'"))
    if not rows:
        return [f"{response.name}: priors stand in the model function"]
    return [f"{address:<32} {text}  {why}" for address, text, why in rows]


def _rows(name: str, priors: Mapping[str, PriorInForce]) -> list[tuple[str, str, str]]:
    return [(f"{name}.{a}", row.text, f"[{row.source}] {row.reason}") for a, row in priors.items()]


def covariate_lines(study: Study) -> tuple[list[list[str]], list[str]]:
    """The models of covariates that the data may lack, each as the lines of an equation, and one line per prior of theirs."""
    equations, priors = [], []
    for node in modelled(study):
        own = covariate_study(study, node.name)
        response = own[node.name]
        assert isinstance(response, Response)
        first, *rest = equation(own, response)
        equations.append([f"{first} (a covariate, for its missing values)", *rest])
        priors += [f"{address:<32} {text}  {why}" for address, text, why in _rows(node.name, covariate_priors(study, node.name))]
    return equations, priors


def regime_lines(study: Study, limit: int | None = SHOWN_REGIMES) -> list[str]:
    """The embedded regimes, one per line."""
    try:
        regimes = study.embedded()
    except StudyError as error:
        return [str(error)]
    shown = [f"{i}. {r.label}" for i, r in enumerate(regimes[:limit], 1)]
    return shown + ([f"... and {len(regimes) - limit} more"] if limit and len(regimes) > limit else [])


def describe(study: Study) -> str:
    """Assemble the whole description, at most 98 columns wide."""
    parts = ["Timeline"] + [_wrap(line, 8) if not line.startswith("     ") else _wrap(line.strip(), 11) for line in timeline_lines(study)]
    parts.append(_wrap(f"utility: {study.utility}" + (f" (differences below {study.mcid:g} do not matter)" if study.mcid else ""), 4))
    if study.cluster:
        parts.append(_wrap(f"clusters: {study.cluster}, partially pooled", 4))
    if study.patient_effects:
        parts.append(_wrap(f"patients' own effects: one for each patient, shared by {', '.join(study.patient_effects)}, integrated over", 4))
    if study.pool_stages:
        parts.append(_wrap(f"pooled stages: the latest decisions of {', '.join(study.pool_stages)} have contrasts in common", 4))
    if study.reference:
        parts.append(_wrap(f"reference regime: {study.reference.label}", 4))
    for event, sentence in study.estimand:
        parts.append(_wrap(f"{event}: {sentence}", 4))
    parts.append("Models")
    covariates, their_priors = covariate_lines(study)
    for first, *rest in [*covariates, *(equation(study, response) for response in study.responses)]:
        parts.append(_wrap(first, 6))
        parts += [_wrap(line, 10) for line in rest]
    parts.append("Priors")
    parts += [_wrap(line, 6) for line in their_priors]
    for response in study.responses:
        parts += [_wrap(line, 6) for line in prior_lines(study, response)]
    regimes = regime_lines(study)
    parts.append(f"Embedded regimes ({len(study.embedded()) if not regimes[0].startswith('There are') else 'too many'})")
    return "\n".join(parts + [_wrap(line, 7) for line in regimes])
