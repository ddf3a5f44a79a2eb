"""The declaration of a study: baseline covariates, then decisions and responses in time order, then a utility."""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import StudyError, did_you_mean, listing
from .borrowing import Commensurate, RobustMAP
from .conditions import ALWAYS, Condition, Level
from .families import Categorical, Family, Normal
from .models import Hierarchical, ResponseModel, Saturated, UserModel
from .priors import Prior

Options = tuple[str, ...]


def _name(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise StudyError(f"{what} needs a name (text), got {value!r}.")
    for bad in ("::", "/"):
        if bad in value:
            raise StudyError(f"{what} {value!r}: a name must not contain {bad!r}.")
    return value


def _labels(values: object, what: str, least: int = 1) -> Options:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise StudyError(f"{what} needs a list of labels, got {values!r}.")
    labels = tuple(values)
    if len(labels) < least:
        raise StudyError(f"{what} needs at least {least} label{'s' if least > 1 else ''}, got {list(labels)!r}.")
    for label in labels:
        if not isinstance(label, str) or not label.strip():
            raise StudyError(f"{what}: labels are text, got {label!r}; write {str(label)!r}.")
    if repeated := [x for i, x in enumerate(labels) if x in labels[:i]]:
        raise StudyError(f"{what}: {repeated[0]!r} is listed twice.")
    return labels


@dataclass(frozen=True, init=False)
class Baseline:
    """A covariate known before the first decision.

    Parameters
    ----------
    name : str
        Its column in the data.
    levels : sequence of str, optional
        The labels of a categorical covariate; without them the covariate is a number.
    missing : {"refuse", "model"} or Family, default "refuse"
        Whether the data may lack some of its values. With "model" they are drawn together with everything
        else that is not known, under a regression on the other covariates: a Normal one for a number, a
        categorical one for labels. A family such as ``Bernoulli()`` or ``LogNormal()`` says how a number is distributed.
    sensitive : {False, True, "use"}, default False
        True keeps the column for the audit alone (:func:`bayesdtr.by_group`, :func:`bayesdtr.fair`): no model and no rule sees it, the data
        may lack it for any patient, and patients to come need not bring it. "use" asks for it in models and rules all the same, like any
        other covariate, and printouts say so.
    drift : bool, default False
        The levels are periods in time order (blocks of enrolment): the level of every response walks at random from one to the next, on the
        scale of its linear predictor and alike for all options. Nothing interacts with it and no tailored rule comes of it. A period must not
        hold a change of the probabilities that options are assigned with. The prior of a step, ``drift``, is wide (Notes).

    Notes
    -----
    A rule that does not see a column can still treat the groups that it tells apart differently, through what goes with it: audit it. Where
    options were not randomized and the choice among them depended on a sensitive column, leaving it out of the models leaves its
    confounding in; "use" is then the way to adjust for it.

    Where shares of options change from period to period, time and treatment are confounded, and whatever a prior holds back of a step of the
    level is put down to treatment: of a step ``d`` between two periods whose difference has standard error ``s`` a prior with SD ``p`` holds
    back about ``d s^2 / (s^2 + p^2)``. With 100 patients a period (``s = .3`` on the logit scale) that is 81 % under an SD of .15 and 1.5 % under
    2.5. A scale common to the steps with a half-Normal prior shrinks few steps towards none, even when it is wide; so the SD is a number,
    ``priors={"y.drift.scale": ...}``.

    Examples
    --------
    >>> Baseline("race", levels=["a", "b"], sensitive=True)
    """

    name: str
    levels: Options | None
    missing: Family | None
    sensitive: bool | str
    drift: bool

    def __init__(self, name: str, *, levels: Sequence[str] | None = None, missing: str | Family = "refuse", sensitive: bool | str = False,
                 drift: bool = False):
        object.__setattr__(self, "name", _name(name, "Baseline"))
        object.__setattr__(self, "levels", None if levels is None else _labels(levels, f"Baseline {name!r}: levels", 2))
        object.__setattr__(self, "missing", self._family_of(missing))
        if not (isinstance(sensitive, bool) or sensitive == "use"):
            hint = did_you_mean(sensitive, ("use",)) if isinstance(sensitive, str) else ""
            raise StudyError(f"Baseline {name!r}: sensitive is True (for the audit only), 'use' (models and rules see it) or False, "
                             f"got {sensitive!r}{hint or '.'}")
        if sensitive is True and self.missing is not None:
            raise StudyError(f"Baseline {name!r}: missing= does not apply to a covariate kept for the audit only; its missing values stop nothing, "
                             "and patients without one are a subgroup of their own. Leave missing= out, or declare sensitive='use'.")
        object.__setattr__(self, "sensitive", sensitive)
        if not isinstance(drift, bool):
            raise StudyError(f"Baseline {name!r}: drift is True or False, got {drift!r}.")
        if drift and (self.levels is None or self.missing is not None or sensitive):
            what = "levels=[...], the periods in time order" if self.levels is None else "neither missing= nor sensitive="
            raise StudyError(f"Baseline {name!r}: drift=True takes {what}.")
        object.__setattr__(self, "drift", drift)

    def _family_of(self, missing: object) -> Family | None:
        """The family under which values not recorded are drawn; None where they are refused."""
        what = f"Baseline {self.name!r}: missing"
        if missing == "refuse":
            return None
        if missing == "model":
            return Normal() if self.levels is None else Categorical(self.levels)
        if isinstance(missing, type) and issubclass(missing, Family):
            raise StudyError(f"{what}: write {missing.__name__}() with brackets.")
        if not isinstance(missing, Family):
            hint = did_you_mean(missing, ("refuse", "model")) if isinstance(missing, str) else ""
            raise StudyError(f"{what} is 'refuse', 'model' or, for a number, a family such as Bernoulli(), got {missing!r}{hint or '.'}")
        if self.levels is not None or missing.levels is not None:
            raise StudyError(f"{what}={missing!r} does not apply: labelled covariates take missing='model', numbers a family of numbers.")
        if missing.columns:
            raise StudyError(f"{what}={missing!r} needs further columns of the data, which a covariate does not have.")
        return missing


def _check_probability(name: str, choices: tuple[tuple[Condition, Options], ...], table: Mapping[str, float]) -> None:
    known = {o for _, options in choices for o in options}
    for option, p in table.items():
        if option not in known:
            raise StudyError(f"Decision {name!r}: probability names {option!r}; options: {listing(sorted(known))}{did_you_mean(option, known)}")
        if isinstance(p, bool) or not isinstance(p, numbers.Real) or not 0 < p <= 1:
            raise StudyError(f"Decision {name!r}: the probability of {option!r} must lie in (0, 1], got {p!r}.")
    for _, options in choices:
        if len(options) <= 1:
            continue
        if missing := [o for o in options if o not in table]:
            raise StudyError(f"Decision {name!r}: probability lacks {listing(missing)}.")
        if abs((total := sum(table[o] for o in options)) - 1) > 1e-9:
            raise StudyError(f"Decision {name!r}: the probabilities of {listing(options)} add up to {total:g}, not 1.")


@dataclass(frozen=True, init=False)
class Decision:
    """A point in time at which one of several options is chosen.

    Parameters
    ----------
    name : str
        Its column in the data, which holds option labels.
    options : sequence of str, or mapping of Condition to sequence of str
        The options that are feasible for everyone, or for each condition on the history. Under a condition
        without options (``[]``) the course ends: nothing later happens, and what was earned is kept.
    assigned : {"randomized", "observed"}, default "randomized"
        How the options in the data came about. "observed" makes exchangeability the analyst's claim.
    probability : None, mapping of str to float, or str
        Randomization probabilities: None for equal among the feasible, one number per option, or
        the name of a column that holds each patient's probability of the option received.
    tailoring : sequence of str, optional
        The discrete variables to whose levels the embedded regimes tailor this decision; by
        default the discrete responses observed since the previous decision.
    """

    name: str
    choices: tuple[tuple[Condition, Options], ...]
    assigned: str
    probability: tuple[tuple[str, float], ...] | str | None
    tailoring: tuple[str, ...] | None

    def __init__(self, name: str, options: Sequence[str] | Mapping[Condition, Sequence[str]], *,
                 assigned: str = "randomized", probability: Mapping[str, float] | str | None = None,
                 tailoring: Sequence[str] | None = None):
        _name(name, "Decision")
        if isinstance(options, Mapping):
            if not options:
                raise StudyError(f"Decision {name!r}: options is empty; give at least one condition with its options.")
            for condition in options:
                if not isinstance(condition, Condition):
                    raise StudyError(f"Decision {name!r}: the keys of options are conditions such as when(improved=0), got {condition!r}.")
            choices = tuple((c, _labels(o, f"Decision {name!r}, {c}", 0)) for c, o in options.items())
            if not any(labels for _, labels in choices):
                raise StudyError(f"Decision {name!r}: no condition has any options, so nobody would ever decide; give at least one some.")
        else:
            choices = ((ALWAYS, _labels(options, f"Decision {name!r}: options")),)
        if assigned not in ("randomized", "observed"):
            raise StudyError(f"Decision {name!r}: assigned must be 'randomized' or 'observed', got {assigned!r}.")
        if probability is not None and assigned == "observed":
            raise StudyError(f"Decision {name!r}: probability belongs to a randomized decision; propensities of observed ones are estimated.")
        if isinstance(probability, Mapping):
            _check_probability(name, choices, probability)
            probability = tuple((str(o), float(p)) for o, p in probability.items())
        elif probability is not None and not isinstance(probability, str):
            raise StudyError(f"Decision {name!r}: probability is None, a mapping of options to numbers, or a column's name, got {probability!r}.")
        if isinstance(tailoring, str):
            raise StudyError(f"Decision {name!r}: tailoring needs a list of names, for example [{tailoring!r}].")
        for field, value in (("name", name), ("choices", choices), ("assigned", assigned), ("probability", probability),
                             ("tailoring", None if tailoring is None else tuple(tailoring))):
            object.__setattr__(self, field, value)

    @property
    def options(self) -> Options:
        """All options under any condition, in the order of declaration; codes count along it."""
        return tuple(dict.fromkeys(o for _, options in self.choices for o in options))

    @property
    def sets(self) -> tuple[Options, ...]:
        """The distinct feasible sets, in the order of declaration."""
        return tuple(dict.fromkeys(options for _, options in self.choices))

    def randomization(self, feasible: Options) -> dict[str, float] | None:
        """Declared probabilities within a feasible set; None where a column holds them or nobody randomized."""
        if len(feasible) <= 1:
            return dict.fromkeys(feasible, 1.0)
        if self.assigned != "randomized" or isinstance(self.probability, str):
            return None
        if self.probability is None:
            return {o: 1 / len(feasible) for o in feasible}
        return {o: dict(self.probability)[o] for o in feasible}


@dataclass(frozen=True, init=False)
class Response:
    """An intermediate or final outcome, observed after a decision.

    Parameters
    ----------
    name : str
        Its column in the data.
    family : Family, optional
        ``Normal()``, ``Bernoulli()``, ``Ordinal([...])`` and so on; may be left out when `model` is a function.
    model : None, Hierarchical, Saturated, or callable
        None for the hierarchical default, ``Hierarchical(...)`` for its options (formulas, smooth
        curves, sparse interactions, sequences), ``Saturated()``, or a function ``f(history)`` that builds
        the response's PyMC model and returns its random variable.
    priors : mapping of str to Prior, RobustMAP, Commensurate or float, optional
        By address (``print(study)`` lists them). A prior replaces the default and is on the
        response's own scale. An address may go deeper: ``"tau.scale"`` is one argument, a number that
        keeps the default's unit; ``"beta.age"`` one coefficient; ``"tau.second"`` a scale of its own
        for the contrasts of one decision; ``"treatment.second[b vs a]"`` the difference between two
        options; ``"probability.a, 1"`` one cell of a saturated model.
    missing : {"refuse", "model"}, default "refuse"
        Whether the data may lack it where something later is observed. With "model" it is drawn from its
        own model together with everything else that is not known. A response after which nothing is observed
        (an outcome never measured, a patient who left) may always be missing: it does not count.
    """

    name: str
    family: Family | None
    model: ResponseModel
    priors: tuple[tuple[str, Prior | RobustMAP | Commensurate | float], ...]
    missing: str

    def __init__(self, name: str, family: Family | None = None, *,
                 model: Saturated | Hierarchical | UserModel | Callable[..., Any] | None = None,
                 priors: Mapping[str, Prior | RobustMAP | Commensurate | float] | None = None, missing: str = "refuse"):
        if _name(name, "Response") in ("chain", "draw", "patient"):
            raise StudyError(f"Response {name!r}: results use this name for a dimension; choose another.")
        if isinstance(family, type) and issubclass(family, Family):
            raise StudyError(f"Response {name!r}: write {family.__name__}() with brackets.")
        if family is not None and not isinstance(family, Family):
            raise StudyError(f"Response {name!r}: the second argument is a family such as Normal() or Bernoulli(), got {family!r}.")
        if model is None:
            model = Hierarchical()
        elif model in (Saturated, Hierarchical):
            raise StudyError(f"Response {name!r}: write {model.__name__}() with brackets.")
        elif not isinstance(model, (Hierarchical, Saturated, UserModel)):
            if not callable(model):
                raise StudyError(f"Response {name!r}: model is None, Saturated() or a function of the history, got {model!r}.")
            model = UserModel.of(model)
        if family is None and not isinstance(model, UserModel):
            raise StudyError(f"Response {name!r} needs a family, for example Normal() or Bernoulli().")
        if priors is not None and not isinstance(priors, Mapping):
            raise StudyError(f"Response {name!r}: priors is a mapping of addresses to Prior, got {priors!r}.")
        if priors and isinstance(model, UserModel):
            raise StudyError(f"Response {name!r}: its priors stand in the model function; priors= does not apply.")
        for address, prior in (priors or {}).items():
            number = isinstance(prior, numbers.Real) and not isinstance(prior, bool) and math.isfinite(prior)
            if not isinstance(address, str) or not (isinstance(prior, (Prior, RobustMAP, Commensurate)) or ("." in address and number)):
                hint = f" (one argument is set by '{address}.scale' or the like)" if number else ""
                raise StudyError(f"Response {name!r}: priors[{address!r}] must be a Prior, got {prior!r}{hint}.")
        given = tuple((a, float(p) if isinstance(p, numbers.Real) else p) for a, p in (priors or {}).items())
        if missing not in ("refuse", "model"):
            hint = did_you_mean(missing, ("refuse", "model")) if isinstance(missing, str) else ""
            raise StudyError(f"Response {name!r}: missing is 'refuse' or 'model' (it is then drawn from its own model), got {missing!r}{hint or '.'}")
        if missing == "model" and family is not None and family.columns:
            raise StudyError(f"Response {name!r}: missing='model' is not for a response with further columns ({family.columns[0][1]!r}).")
        for field, value in (("name", name), ("family", family), ("model", model), ("priors", given), ("missing", missing)):
            object.__setattr__(self, field, value)

    @property
    def support(self) -> tuple[int, ...] | None:
        """The finite values of the response, or None when it has no finite list or none is declared."""
        return self.family.support if self.family else None

    @property
    def columns(self) -> tuple[tuple[str, str, float], ...]:
        """Further columns of the data: role, column, and the value for a patient to come."""
        return self.family.columns if self.family else ()


Node = Baseline | Decision | Response


def labels_of(node: Node) -> Options | None:
    """The labels of a decision, a categorical covariate or a categorical response, codes count along them; None for numbers."""
    if isinstance(node, Decision):
        return node.options
    return node.levels if isinstance(node, Baseline) else node.family.levels if node.family else None


def shown(node: Node, code: float) -> str:
    """A value of a variable as it is read: the label, or the number."""
    labels = labels_of(node)
    return f"{code:g}" if labels is None else labels[int(code)]


def finite_values(node: Node) -> tuple[Level, ...] | None:
    """The values a variable can take, or None for any number."""
    labels = labels_of(node)
    return labels if labels is not None or not isinstance(node, Response) else node.support


def code_of(node: Node, label: Level) -> float:
    """The number that stands for a label in a history; a number stands for itself; NaN for an unknown label."""
    labels = labels_of(node)
    if labels is None:
        return float(label)
    return float(labels.index(label)) if label in labels else np.nan
