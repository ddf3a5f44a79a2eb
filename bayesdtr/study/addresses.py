"""Dotted addresses: which prior, or which one argument or coefficient of it, a user's entry speaks of.

``tau`` is a whole prior, ``tau.scale`` one argument of it, ``beta.age`` the prior of one coefficient,
``beta.age.scale`` one argument of that, ``tau.second`` a scale of its own for one decision,
``treatment.second[b vs a]`` the difference between two options, ``probability.a, 1`` one cell.
"""

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import StudyError, did_you_mean, listing
from .borrowing import Commensurate, RobustMAP
from .models import Hierarchical, Saturated
from .predictor import Contrast, default_predictor
from .priors import ON_THE_LINE, UNIT_INTERVAL, Address, Prior, PriorInForce, hierarchical_addresses, saturated_addresses
from .saturated import saturated_cells
from .structures import interactions_of, structured
from .timeline import Response

if TYPE_CHECKING:
    from .study import Study

Given = Prior | RobustMAP | Commensurate | float
Row = Address | PriorInForce
BORROWED = (RobustMAP, Commensurate)


def addresses(study: "Study", response: Response) -> dict[str, Address]:
    """Addresses of a built-in model with their defaults, in printing order."""
    assert response.family is not None
    if isinstance(response.model, Saturated):
        return saturated_addresses(response.family)
    return structured(study, response, hierarchical_addresses(response.family, study.cluster is not None))


def difference_factor(contrast: Contrast) -> float:
    """What one unit of a contrast's coefficient is of the difference between its option and the mean of those before it."""
    j = contrast.index + 1
    return math.sqrt((j + 1) / j)


def elements(study: "Study", response: Response, table: Mapping[str, Address]) -> dict[str, PriorInForce | None]:
    """Addresses of single coefficients, scales and cells, with the default in force there; None where another scale stands in for it."""
    assert response.family is not None
    found: dict[str, PriorInForce | None] = {}

    def own(base: str, label: str) -> None:
        row = table[base]
        found[f"{base}.{label}"] = PriorInForce(response.name, f"{base}.{label}", row.default, "default", row.reason, row.sd_units, row.around)

    if isinstance(response.model, Saturated):
        base = "probability" if "probability" in table else "mean"
        for label in saturated_cells(study, response).labels:
            own(base, label)
    elif isinstance(response.model, Hierarchical):
        predictor = default_predictor(study, response)
        scales = {"tau": predictor.treatment, "tau_combination": predictor.combination}
        if interactions_of(study, response) == "normal":  # a sparse prior has one common scale
            scales["tau_interaction"] = predictor.interaction
        for prefix in ("", "zero_") if response.family.zero_part else ("",):
            for column in predictor.main:
                own(f"{prefix}beta", column.label)
            for address, columns in scales.items():
                if f"{prefix}{address}" in table:
                    for decision in dict.fromkeys(c.factors[0].name for c in columns if isinstance(c.factors[0], Contrast)):
                        own(f"{prefix}{address}", decision)
            if response.family.width is None or prefix:
                found |= {f"{prefix}treatment.{c.label}": None for c in predictor.treatment}
    return found


def _factors(study: "Study", response: Response) -> dict[str, float]:
    """Difference per coefficient of every treatment contrast, by its label."""
    columns = default_predictor(study, response).treatment if isinstance(response.model, Hierarchical) else ()
    return {c.label: difference_factor(c.factors[0]) for c in columns if isinstance(c.factors[0], Contrast)}


def _kinds(key: str, table: Mapping[str, Address]) -> tuple[str, ...]:
    base = key if key in table else key.split(".", 1)[0]
    return table[base].kinds if base in table else ON_THE_LINE


def _vector(key: str, study: "Study", response: Response) -> bool:
    """Whether an address governs several coefficients at once."""
    assert response.family is not None
    return key.removeprefix("zero_") in ("beta", "drift", "probability", "mean") or (key == "intercept" and response.family.width is not None)


def _check_value(where: str, key: str, value: object, table: Mapping[str, Address], study: "Study", response: Response) -> None:
    """Raise for a prior that does not belong at an address."""
    if not isinstance(value, (Prior, *BORROWED)):
        hint = f"; one argument is set by '{key}.scale' or the like" if isinstance(value, numbers.Real) else ""
        raise StudyError(f"{where}: priors[{key!r}] must be a Prior, got {value!r}{hint}.")
    kinds = _kinds(key, table)
    if isinstance(value, Prior):
        if value.distribution not in kinds:
            raise StudyError(f"{where}: the prior of {key!r} must be one of {listing(kinds)}, got {value}.")
        return
    wanted = UNIT_INTERVAL if isinstance(value, RobustMAP) and value.of_probability else ON_THE_LINE
    if kinds != wanted:
        other = "RobustMAP.from_counts(...)" if kinds == UNIT_INTERVAL else "a Prior" if kinds != ON_THE_LINE else "RobustMAP(estimates, ...)"
        raise StudyError(f"{where}: {type(value).__name__} of this kind does not belong at {key!r}; that address takes {other}.")
    if _vector(key, study, response):
        known = [k for k in elements(study, response, table) if k.startswith(f"{key}.")]
        raise StudyError(f"{where}: earlier trials speak of one coefficient, and {key!r} is several; name one of {listing(known) or 'none here'}.")
    if response.family is not None and response.family.width is not None and not key.startswith("zero_"):
        raise StudyError(f"{where}: borrowing is not available for {response.family.name}() responses, whose effects are several contrasts each.")


def _unknown(where: str, key: str, known: list[str], table: Mapping[str, Address]) -> StudyError:
    head, _, rest = key.partition(".")
    near = [k for k in known if k.startswith(f"{head}.")] if rest and head in {*table, "treatment", "zero_treatment"} else list(table)
    arguments = [f"{n}.{a}" for n, row in table.items() for a, _ in row.default.parameters] if "." in key else []
    return StudyError(f"{where}: no prior address {key!r}; this model has {listing(near or list(table), 20)}{did_you_mean(key, known + arguments)}")


def _changed(where: str, key: str, row: PriorInForce, argument: str, value: object) -> PriorInForce:
    """A row with one argument of its prior replaced; its unit stays."""
    prior = row.prior
    assert isinstance(prior, Prior)
    arguments = dict(prior.parameters)
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise StudyError(f"{where}: priors[{key!r}] changes one argument of {prior.distribution} and takes a number, got {value!r}.")
    changed = Prior(prior.distribution, reason=prior.reason, **(arguments | {argument: float(value)}))
    reason = f"{argument} as declared, in place of {arguments[argument]:g}" + (f"; {row.reason}" if row.source == "default" else "")
    return dataclasses.replace(row, prior=changed, source="user", reason=reason)


def _argument(where: str, key: str, rows: Mapping[str, PriorInForce | None], known: list[str], table: Mapping[str, Address]) -> tuple[str, str]:
    """Split an entry that speaks of one argument into the address and the argument."""
    address, _, argument = key.rpartition(".")
    row = rows.get(address)
    if row is None or not isinstance(row.prior, Prior):
        if address in rows:
            why = "the prior there is borrowed" if row else "its default is Normal(0, tau)"
            raise StudyError(f"{where}: {key!r} names an argument of {address!r}, which has none ({why}); give it a Prior.")
        raise _unknown(where, key, known, table)
    allowed = [name for name, _ in row.prior.parameters]
    if argument not in allowed:
        near = [k for k in known if k.startswith(f"{address}.")]
        more = f"; below it stand {listing(near)}" if near else ""
        raise StudyError(f"{where}: {address!r} has a {row.prior.distribution} prior, which takes {listing(allowed)} and no {argument!r}{more}"
                         f"{did_you_mean(key, [*(f'{address}.{a}' for a in allowed), *near])}")
    return address, argument


def resolve(study: "Study", response: Response) -> dict[str, PriorInForce]:
    """Every prior in force: defaults, with what the user declared put in their place.

    Whole priors are read first, then single arguments, so that ``{"tau": Prior(...), "tau.scale": 1}``
    means the latter of the former, in whatever order they stand.

    Raises
    ------
    StudyError
        For an address or argument the model does not have, or a distribution with the wrong support.
    """
    table, where = addresses(study, response), f"Response {response.name!r}"
    more, factors = elements(study, response, table), _factors(study, response)
    rows: dict[str, PriorInForce | None] = {
        n: PriorInForce(response.name, n, r.default, "default", r.reason, r.sd_units, r.around) for n, r in table.items()} | more
    known, touched, late = list(rows), set(), []
    for key, value in response.priors:
        if key not in rows:
            late.append((key, value))
            continue
        _check_value(where, key, value, table, study, response)
        assert not isinstance(value, float)
        source = "borrowed" if isinstance(value, BORROWED) else "user"
        label = key.split(".", 1)[1] if key.removeprefix("zero_").startswith("treatment.") else ""
        rows[key] = PriorInForce(response.name, key, value, source, value.reason or "as declared", False, "", factors.get(label, 1.0))
        touched.add(key)
    _follow(rows, more, touched)
    for key, value in sorted(late, key=lambda item: item[0].rpartition(".")[0] not in table):  # whole vectors before their elements
        address, argument = _argument(where, key, rows, known, table)
        row = rows[address]
        assert row is not None
        rows[address] = _changed(where, key, row, argument, value)
        touched.add(address)
        _follow(rows, more, touched)
    return _in_force(rows, table, touched, _idle(study, response, touched))


def _follow(rows: dict[str, PriorInForce | None], more: Mapping[str, PriorInForce | None], touched: set[str]) -> None:
    """Elements without a declaration of their own have the prior of their vector."""
    for name in more:
        base = name.split(".", 1)[0]
        if name not in touched and base in touched and (row := rows[base]) is not None:
            rows[name] = dataclasses.replace(row, address=name)


def _idle(study: "Study", response: Response, touched: set[str]) -> set[str]:
    """Scales that govern no coefficient, because decisions have scales, or differences priors, of their own."""
    if not isinstance(response.model, Hierarchical):
        return set()
    predictor, idle = default_predictor(study, response), set()
    for prefix in ("", "zero_"):
        for scale, columns, own in (("tau", predictor.treatment, "treatment"), ("tau_interaction", predictor.interaction, "interaction"),
                                    ("tau_combination", predictor.combination, "combination")):
            bound = [c for c in columns if f"{prefix}{own}.{c.label}" not in touched]
            specific = {f"{prefix}{scale}.{c.factors[0].name}" for c in bound if isinstance(c.factors[0], Contrast)}
            idle |= {k for k in touched if k.startswith(f"{prefix}{scale}.")} - specific
            if columns and specific <= touched:
                idle.add(prefix + scale)
    return idle


def _in_force(rows: Mapping[str, PriorInForce | None], table: Mapping[str, Address], touched: set[str], idle: set[str]) -> dict[str, PriorInForce]:
    """The rows that a model places, what is declared for single elements after the whole."""
    found: dict[str, PriorInForce] = {}
    for name in table:
        below = [f"{name}."]
        if name.endswith("tau"):
            below.append(f"{name.removesuffix('tau')}treatment.")
        keys = [name, *(k for k in rows if k in touched and k.startswith(tuple(below)))]
        found |= {k: row for k in keys if k not in idle and (row := rows[k]) is not None}
    return found


def with_study_priors(timeline: tuple, priors: Mapping[str, Given]) -> tuple:
    """A timeline whose responses carry the priors that a study declares as ``response.address``.

    Raises
    ------
    StudyError
        When an entry names no response, or one that has declared the same address itself.
    """
    if not isinstance(priors, Mapping):
        raise StudyError(f"Study: priors is a mapping of 'response.address' to Prior or number, got {priors!r}.")
    responses = {node.name: node for node in timeline if isinstance(node, Response)}
    mine: dict[str, dict[str, Given]] = {}
    for key, value in priors.items():
        owners = [n for n in responses if isinstance(key, str) and key.startswith(f"{n}.")]
        if not owners:
            raise StudyError(f"Study: priors names {key!r}; addresses begin with a response and a dot, responses: {listing(responses)}"
                             f"{did_you_mean(str(key).split('.')[0], responses)}")
        owner = max(owners, key=len)
        address = key[len(owner) + 1 :]
        if address in dict(responses[owner].priors):
            raise StudyError(f"Study: priors[{key!r}] is declared by Response {owner!r} too; leave one of them out.")
        mine.setdefault(owner, {})[address] = value
    made = []
    for node in timeline:
        if isinstance(node, Response) and node.name in mine:
            node = Response(node.name, node.family, model=node.model, priors={**dict(node.priors), **mine[node.name]})
        made.append(node)
    return tuple(made)
