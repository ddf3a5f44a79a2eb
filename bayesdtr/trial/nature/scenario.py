"""`Scenario`: what is true in a simulation, as a declaration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import TrialError, did_you_mean, listing
from ...study import Study
from ...study.families import Categorical
from ...study.timeline import Decision
from ...text import fold
from .calendar import Calendar, plain
from .conduct import Adherence, Dropout
from .covariates import Covariate, Joint, Sites
from .draws import check_extras
from .laws import Law, read_law
from .shifts import Drift

if TYPE_CHECKING:
    from ...inference import Posterior
    from .fitted import PosteriorScenarios


@dataclass(frozen=True, init=False)
class Scenario:
    """What is true in a simulation of a trial.

    Parameters
    ----------
    name : str
        What tables call it.
    responses : mapping of response to its truth
        For every response of the study: a number (its mean or probability), ``{option: number}`` by the option taken at the latest
        decision, ``{when(...): number}`` by conditions on the history, a function ``f(history)``, or a :class:`Law` of one of these
        where the family needs more than a mean (``Law({"A": 1.0, "B": 1.5}, sd=2)``).
    baseline : mapping of covariate to Covariate, or Joint, optional
        For every covariate of the study: ``Gaussian(mean, sd)``, ``Uniform(low, high)``, ``Levels({label: probability})``.
    clusters : Sites, optional
    drift : Drift or sequence of Drift, optional
        ``LinearDrift``, ``StepDrift``, ``ArmDrift``; their shifts add up.
    dropout : Dropout, optional
    adherence : Adherence, optional
    calendar : Calendar, optional
        In place of the design's.
    as_under : mapping of decision to option, optional
        Decisions that make no difference, with the option that all others are like: see :meth:`sharp_null`.

    Raises
    ------
    TrialError
        For what cannot be meant in any study; :meth:`check` does the rest for a given one.

    Notes
    -----
    A response is drawn by inverse cdf from one uniform number of its patient, so a patient's responses under different options, designs
    or scenarios are coupled: comparisons are on common random numbers.

    Examples
    --------
    >>> Scenario("B is better", {"event": {"A": 0.25, "B": 0.20, "C": 0.30}})
    """

    name: str
    responses: tuple[tuple[str, Law], ...]
    baseline: tuple[tuple[str, Covariate], ...] | Joint
    clusters: Sites | None
    drift: tuple[Drift, ...]
    dropout: Dropout | None
    adherence: Adherence | None
    calendar: Calendar | None
    as_under: tuple[tuple[str, str], ...]

    def __init__(self, name: str, responses: Mapping[str, Any], *, baseline: Mapping[str, Covariate] | Joint | None = None,
                 clusters: Sites | None = None, drift: Drift | Sequence[Drift] | None = None, dropout: Dropout | None = None,
                 adherence: Adherence | None = None, calendar: Calendar | None = None, as_under: Mapping[str, str] | None = None):
        if not isinstance(name, str) or not name.strip():
            raise TrialError(f"Scenario needs a name (text) first, got {name!r}.")
        responses = dict(responses) if isinstance(responses, tuple) else responses  # as kept
        if not isinstance(responses, Mapping) or not responses:
            raise TrialError(f"Scenario {name!r} takes a mapping of responses to what is true of them, got {responses!r}.")
        put = lambda field, value: object.__setattr__(self, field, value)  # noqa: E731
        put("name", name)
        put("responses", tuple((str(r), read_law(law, str(r))) for r, law in responses.items()))
        put("baseline", _baseline(baseline))
        put("clusters", _kind(clusters, Sites, "clusters", "Sites(10)"))
        put("drift", _drift(drift))
        put("dropout", _kind(dropout, Dropout, "dropout", "Dropout(rate=0.01)"))
        put("adherence", _kind(adherence, Adherence, "adherence", "Adherence({'arm': 0.9})"))
        put("calendar", _kind(calendar, Calendar, "calendar", "Calendar(PoissonAccrual(4), delays=6)"))
        put("as_under", tuple((str(d), str(o)) for d, o in dict(as_under or {}).items()))

    # ---- made from what is known -------------------------------------------------------------------

    @classmethod
    def from_posterior(cls, posterior: "Posterior", *, draw: int | None = None, name: str | None = None,
                       baseline: Mapping[str, Covariate] | Joint | None = None, clusters: Sites | None = None,
                       calendar: Calendar | None = None) -> "Scenario":
        """What an earlier trial says of the next one of the same study: the truth of one posterior draw, or their mean.

        Parameters
        ----------
        posterior : Posterior
        draw : int, optional
            Number of a draw, chains end to end from 0. By default responses follow their posterior mean: the mean (or the probabilities of
            levels) given a history, averaged over draws; an SD is the root of the mean variance, other quantities are averaged.
        name : str, optional
        baseline : mapping of covariate to Covariate, or Joint, optional
            By default the patients observed, each with all covariates together; under a draw weighed by its Bayesian bootstrap, so that values of
            regimes are those that :func:`compare` has for the draw.
        clusters : Sites, optional
            Of a study with clusters; by default as many sites with the observed shares of patients, whose effects are drawn anew with the SD that the
            draw has. Sites differ in level: their own treatment effects are left out, and responses are those of a site without an effect.
        calendar : Calendar, optional

        Returns
        -------
        Scenario
            Of any study with the same variables in the same order and the same families; decisions may have fewer options than the fitted study.

        Raises
        ------
        TrialError
            For what is no posterior, a draw that it does not have, and responses whose law no scenario draws.
        """
        from .fitted import scenarios_of

        made = scenarios_of(posterior, baseline, clusters, calendar)
        if draw is not None and (isinstance(draw, bool) or not isinstance(draw, (int, np.integer)) or not 0 <= draw < posterior.size):
            raise TrialError(f"Scenario.from_posterior: the posterior has draws 0 to {posterior.size - 1}, got draw={draw!r}.")
        found = made.at(None if draw is None else int(draw), name)
        found.check(posterior.study)
        return found

    @classmethod
    def drawn_from(cls, posterior: "Posterior", *, baseline: Mapping[str, Covariate] | Joint | None = None, clusters: Sites | None = None,
                   calendar: Calendar | None = None) -> "PosteriorScenarios":
        """What :func:`assurance` averages over: a function that draws one of a posterior's draws as a scenario.

        Parameters
        ----------
        posterior, baseline, clusters, calendar
            As of :meth:`from_posterior`.

        Returns
        -------
        callable
            From a random generator to a Scenario.

        Raises
        ------
        TrialError
        """
        from .fitted import scenarios_of

        return scenarios_of(posterior, baseline, clusters, calendar)

    # ---- others made from it -----------------------------------------------------------------------

    def renamed(self, name: str) -> "Scenario":
        """The same scenario under another name."""
        return replace(self, name=name)

    def with_drift(self, *drift: Drift, name: str | None = None) -> "Scenario":
        """The same scenario with other drift, or with none."""
        return replace(self, name=name or f"{self.name}, drift" if drift else name or self.name, drift=drift)

    def with_dropout(self, dropout: Dropout | None, name: str | None = None) -> "Scenario":
        """The same scenario with other dropout."""
        return replace(self, name=name or f"{self.name}, dropout", dropout=dropout)

    def with_adherence(self, adherence: Adherence | None, name: str | None = None) -> "Scenario":
        """The same scenario with other adherence."""
        return replace(self, name=name or f"{self.name}, non-adherence", adherence=adherence)

    def with_calendar(self, calendar: Calendar | None, name: str | None = None) -> "Scenario":
        """The same scenario with another calendar."""
        return replace(self, name=name or self.name, calendar=calendar)

    def with_responses(self, responses: Mapping[str, Any], name: str) -> "Scenario":
        """The same scenario with other truths of some responses."""
        known = dict(self.responses)
        for r in responses:
            if r not in known:
                raise TrialError(f"Scenario {self.name!r} has no response {r!r}; responses: {listing(known)}{did_you_mean(r, known)}")
        return replace(self, name=name, responses=known | dict(responses))

    def sharp_null(self, options: Mapping[str, str], name: str | None = None) -> "Scenario":
        """A scenario in which decisions make no difference to anybody: all their options do what one of them does here.

        Parameters
        ----------
        options : mapping of decision to option
            The option whose outcomes everybody has, whatever was taken. An option that is never feasible beside it is left as it is.
        name : str, optional

        Returns
        -------
        Scenario
        """
        if not isinstance(options, Mapping) or not options:
            raise TrialError(f"sharp_null takes a mapping of decisions to options, got {options!r}.")
        return replace(self, name=name or f"{self.name}, no effect of {', '.join(options)}", as_under=options)

    # ---- against a study ---------------------------------------------------------------------------

    def check(self, study: Study) -> None:
        """Raise one `TrialError` where the scenario does not fit a study.

        Parameters
        ----------
        study : Study
        """
        from .bound import laws_of

        laws_of(study, self)

    def check_names(self, study: Study) -> None:
        """Raise `TrialError` for names that do not fit a study, what is missing, and parts that do not fit."""
        where = f"Scenario {self.name!r}"
        names = [r.name for r in study.responses]
        given = dict(self.responses)
        for name in given:
            if name not in names:
                raise TrialError(f"{where} names {name!r}, which is no response; responses: {listing(names)}{did_you_mean(name, names)}")
        if lacking := [n for n in names if n not in given]:
            raise TrialError(f"{where} misses {listing(lacking)}; say what is true of every response of the study.")
        for r in study.responses:
            if r.family is None:
                raise TrialError(f"{where}: {r.name!r} has a model of the user's own and no family, so nothing says how it is drawn; "
                                 "declare a family.")
            check_extras(r.family, tuple(n for n, _ in given[r.name].extras), r.name)
        self._check_baseline(study, where)
        if study.cluster is not None and self.clusters is None:
            raise TrialError(f"{where} misses the clusters ({study.cluster!r}) that the study declares; give clusters=Sites(10) or the like.")
        for name, _ in self.clusters.sd if self.clusters else ():
            if name not in names:
                raise TrialError(f"{where}: Sites names {name!r}, which is no response; responses: {listing(names)}{did_you_mean(name, names)}")
            if isinstance(study[name].family, Categorical):  # type: ignore[union-attr]
                raise TrialError(f"{where}: {name!r} is Categorical, whose levels have no order along which a site could shift them; "
                                 f"leave it out of Sites(sd=...).")
        for part in (*self.drift, self.dropout, self.adherence, self.calendar):
            if part is not None:
                part.check(study)
        for name, option in self.as_under:
            node = next((d for d in study.decisions if d.name == name), None)
            if node is None:
                known = [d.name for d in study.decisions]
                raise TrialError(f"{where}: sharp_null names {name!r}, which is no decision; decisions: {listing(known)}{did_you_mean(name, known)}")
            if option not in node.options:
                raise TrialError(f"{where}: {option!r} is no option of {name!r}; options: {listing(node.options)}"
                                 f"{did_you_mean(option, node.options)}")

    def _check_baseline(self, study: Study, where: str) -> None:
        names = {b.name: b for b in study.baselines}
        if isinstance(self.baseline, Joint):
            if names:
                self.baseline.columns(np.full((3, self.baseline.count), 0.5), study)
            return
        given = dict(self.baseline)
        for name in given:
            if name not in names:
                raise TrialError(f"{where}: baseline names {name!r}, which is no covariate of the study; covariates: {listing(names) or 'none'}"
                                 f"{did_you_mean(name, names)}")
        if lacking := [n for n in names if n not in given]:
            raise TrialError(f"{where} misses covariate {listing(lacking)}; give baseline={{{lacking[0]!r}: Gaussian(0, 1)}} or the like.")
        for name, law in given.items():
            law.check(names[name])

    def swaps(self, study: Study) -> dict[str, np.ndarray]:
        """Which option the outcome is like, for those who took each, by decision, as codes; of :meth:`sharp_null`."""
        made = {}
        for name, option in self.as_under:
            node = study[name]
            assert isinstance(node, Decision)
            like = [any(option in s and o in s for s in node.sets) for o in node.options]
            made[name] = np.where(like, node.options.index(option), np.arange(len(node.options)))
        return made

    # ---- as data and as text ---------------------------------------------------------------------

    def description(self) -> dict[str, Any]:
        """Plain data, fit for JSON, that tell scenarios apart: what a store keeps to know a run again.

        Functions stand by their address and a digest of their source and of the data they use.
        """
        covariates = plain(self.baseline) if isinstance(self.baseline, Joint) else [[n, plain(c)] for n, c in self.baseline]
        return {"name": self.name, "responses": [[n, law.description()] for n, law in self.responses], "baseline": covariates,
                "clusters": plain(self.clusters), "drift": plain(self.drift), "dropout": plain(self.dropout), "adherence": plain(self.adherence),
                "calendar": None if self.calendar is None else self.calendar.description(), "as_under": [list(p) for p in self.as_under]}

    def lines(self) -> list[str]:
        """One line for each part, for tables and reports."""
        made = [f"{n}: {law}" for n, law in self.responses]
        made += [f"baseline {self.baseline}"] if isinstance(self.baseline, Joint) else [f"baseline {n}: {c}" for n, c in self.baseline]
        made += [f"no effect of {d}: all options are like {o}" for d, o in self.as_under]
        parts = (("clusters", self.clusters), ("dropout", self.dropout), ("adherence", self.adherence), ("calendar", self.calendar))
        return made + [f"drift: {d}" for d in self.drift] + [f"{what}: {part}" for what, part in parts if part is not None]

    def __str__(self) -> str:
        return fold("\n".join([f"Scenario {self.name}", *(f"  {line}" for line in self.lines())]))


def _kind(given: Any, kind: type, what: str, example: str) -> Any:
    if given is not None and not isinstance(given, kind):
        raise TrialError(f"Scenario: {what} takes a {kind.__name__}, for example {example}, got {given!r}.")
    return given


def _drift(given: Any) -> tuple[Drift, ...]:
    parts = () if given is None else (given,) if isinstance(given, Drift) else given
    if not isinstance(parts, Sequence) or not all(isinstance(d, Drift) for d in parts):
        raise TrialError(f"Scenario: drift takes LinearDrift, StepDrift or ArmDrift, or a list of them, got {given!r}.")
    return tuple(parts)


def _baseline(given: Any) -> Any:
    if given is None or isinstance(given, Joint):
        return given or ()
    given = dict(given) if isinstance(given, tuple) else given
    if not isinstance(given, Mapping):
        raise TrialError(f"Scenario: baseline takes a mapping of covariates to laws, or a Joint, got {given!r}.")
    for name, law in given.items():
        if not isinstance(law, Covariate):
            raise TrialError(f"Scenario: the law of baseline {name!r} is Gaussian(mean, sd), Uniform(low, high) or Levels({{...}}), got {law!r}.")
    return tuple((str(n), c) for n, c in given.items())
