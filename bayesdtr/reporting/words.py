"""The first page: the question, what is recommended for whom, how sure, what could be wrong, without a symbol."""

import re
from dataclasses import dataclass

import numpy as np

from ..decision.reading.readable import CONDITION, RuleBranch
from ..evaluate import HonestValue
from ..inference import StackedPosterior
from ..inference.check import ESS_FAIL, RHAT_FAIL, convergence_reasons
from ..plot.style import SPARSE
from ..study.conditions import Condition, Equals, OneOf, Test
from ..study.lifetime import LifeUtility, QualityAdjusted, SurvivalAt
from ..study.rules import Rules
from ..study.timeline import Decision, Response
from .blocks import digits_for
from .material import Lean, Material
from .stacked import shift_of

MOST_LINES = 8
"""Branches of one decision spelled out on the first page at most."""
SMALL_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
RANKS = ("", "first", "second", "third", "fourth", "fifth", "sixth")


@dataclass(frozen=True)
class PlainPage:
    """The first page.

    Attributes
    ----------
    alarms : tuple of str
        What a reader must know before anything else: withheld, exploratory, not randomized.
    question : str
    recommendation : tuple of str
    sure, wrong : tuple of str
    """

    alarms: tuple[str, ...]
    question: str
    recommendation: tuple[str, ...]
    sure: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def text(self) -> str:
        """All of it in one string."""
        return "\n".join([*self.alarms, self.question, *self.recommendation, *self.sure, *self.wrong])


# ---- words ------------------------------------------------------------------------------------------


def name_words(name: str) -> str:
    """A name as it reads in a sentence, without signs that a general reader would stumble over."""
    signs = {"_": " ", "%": " percent", "<": " below ", ">": " above ", "=": " equal to ", "±": " plus or minus ", "&": " and ", "+": " plus ",
             "|": " or ", "*": " ", "^": " ", "~": " about ", "$": " dollars ", "@": " at ", "#": " number ", "{": "", "}": "", "\\": " "}
    return " ".join("".join(signs.get(c, c) for c in str(name)).split())


def called(name: str) -> str:
    """A name, in quotation marks so that it is not read as a word of the sentence."""
    return f"“{name_words(name)}”"


def count_words(n: int) -> str:
    """Small whole numbers in letters."""
    return SMALL_NUMBERS[n] if 0 <= n < len(SMALL_NUMBERS) else str(n)


def number_words(x: float, digits: int) -> str:
    """A number, its sign in letters."""
    text = f"{abs(round(x, digits)) + 0.0:.{digits}f}"
    return f"minus {text}" if round(x, digits) < 0 else text


def plain_number(x: float) -> str:
    """A number with no more digits than it needs."""
    return number_words(x, 10).rstrip("0").rstrip(".")


def chance_words(p: float) -> str:
    """A probability as so many in a hundred."""
    if p > 0.995:
        return "more than 99 in 100"
    return "less than 1 in 100" if p < 0.005 else f"about {round(100 * p)} in 100"


def list_words(items: list[str], last: str = "and") -> str:
    """``a, b and c``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} {last} {items[-1]}" if items else ""


def _value_words(m: Material, name: str, label: object) -> str:
    node = m.study[name]
    if isinstance(node, Response) and node.support == (0, 1):
        return {"0": "no", "1": "yes"}.get(str(label), str(label))
    return name_words(str(label))


def _test_words(m: Material, name: str, test: Test) -> str:
    if isinstance(test, Equals):
        return f"{name_words(name)} is {_value_words(m, name, test.value)}"
    if isinstance(test, OneOf):
        return f"{name_words(name)} is {list_words([_value_words(m, name, v) for v in test.values], 'or')}"
    low, high = test.low, test.high
    if low is None:
        return f"{name_words(name)} is below {plain_number(float(high or 0.0))}"
    ends = f"at least {plain_number(low)}"
    return f"{name_words(name)} is {ends}" + ("" if high is None else f" and below {plain_number(high)}")


def _threshold_words(m: Material, text: str) -> str:
    """A threshold of the if-then list, ``sbp < 154.7``; a yes-or-no covariate by its value."""
    for b in m.study.baselines:
        for sign in (" = ", " is not ") if b.levels else ():
            if text.startswith(b.name + sign):
                return f"{name_words(b.name)}{' is ' if sign == ' = ' else sign}{text.removeprefix(b.name + sign)}"
    sign, word = (" >= ", "at least") if " >= " in text else (" < ", "below")
    name, cut = text.rsplit(sign, 1)
    column = m.regime.posterior.trajectories.columns.get(name)
    if column is not None and np.isin(column[np.isfinite(column)], (0.0, 1.0)).all():
        return f"{name_words(name)} is {1 if word == 'at least' else 0}"
    return f"{name_words(name)} is {word} {number_words(float(cut), 4).rstrip('0').rstrip('.')}"


def _condition_words(m: Material, decision: Decision, text: str, known: set[str]) -> list[str]:
    for condition, _ in decision.choices:
        for tests in (condition.tests, tuple((n, t) for n, t in condition.tests if n not in known)):
            if tests and str(Condition(tests)) == text:
                return [_test_words(m, n, t) for n, t in tests]
    return [name_words(text)]


def when_words(m: Material, branch: RuleBranch) -> str:
    """When a branch applies, as a clause; empty for everyone."""
    decision = m.study[branch.decision]
    assert isinstance(decision, Decision)
    known = {n for n, _ in branch.history}
    parts: list[str] = []
    for name, label in branch.history:
        parts += _condition_words(m, decision, label, known) if name == CONDITION else [f"{name_words(name)} is {_value_words(m, name, label)}"]
    return list_words(parts + [_threshold_words(m, t) for t in branch.tests])


def rules_words(rules: Rules) -> str:
    """A written regime as a phrase."""
    text = re.sub(r"\s>=\s", " is at least ", rules.label)
    text = re.sub(r"\s<=\s", " up to ", re.sub(r"\s<\s", " is below ", text))
    return name_words(re.sub(r"\sin\s\{([^}]*)\}", r" is one of \1", re.sub(r"\s=\s", " is ", text)).replace(";", ", then"))


def _life_words(life: LifeUtility) -> str:
    """A utility of times: a clause for survival at a time, a noun for the others."""
    names = [called(n) for n in life.names]
    together, until = f"{list_words(names)}{' together' if len(names) > 1 else ''}", plain_number(life.limit)
    if isinstance(life, SurvivalAt):
        return f"{together} last{'' if len(names) > 1 else 's'} longer than {until}"
    if isinstance(life, QualityAdjusted):
        worth = list_words([f"a unit of {n} counts {plain_number(q)}" for n, q in zip(names, life.qualities, strict=True)])
        later = ", later time less than earlier" if life.discount_rate else ""
        return f"the time lived up to {until}, in which {worth}{later}"
    return f"the time that {together} last{'' if len(names) > 1 else 's'}, counted up to {until}"


def utility_words(m: Material) -> str:
    """What is to be made as large as possible."""
    utility = m.study.utility
    weights, tables, times, costs = utility.weights, utility.tables, utility.times, utility.costs
    if len(times) == 1 and times[0][1] == 1 and not weights and not tables and not costs and utility.attitude is None:
        share = isinstance(times[0][0], SurvivalAt)
        return f"{'the share of patients for whom' if share else 'the average of'} {_life_words(times[0][0])}"
    if len(weights) == 1 and weights[0][1] == 1 and not tables and not times and not costs and utility.attitude is None:
        node = m.study[weights[0][0]]
        binary = isinstance(node, Response) and node.support == (0, 1)
        return f"{'the share of patients with ' if binary else 'the average of '}{name_words(weights[0][0])}"
    counted = lambda w: f"counted {plain_number(w)} times"  # noqa: E731
    parts = [f"{name_words(n)} {counted(w)}" for n, w in weights]
    parts += [f"{'one if ' if isinstance(life, SurvivalAt) else ''}{_life_words(life)} {counted(w)}" for life, w in times]
    parts += [f"the agreed value of each result for {list_words([name_words(n) for n in t.names])}" for t in tables]
    off = f", less the agreed costs of treatments at {list_words([called(n) for n, _ in costs])}" if costs else ""
    risk = ", in which uncertain results count less than sure ones with the same average" if utility.attitude is not None else ""
    return f"the average of a score that {'adds up' if len(parts) > 1 else 'is'} {list_words(parts)}{off}{risk}"


# ---- the page -----------------------------------------------------------------------------------------


def plain_page(m: Material) -> PlainPage:
    """Write the first page."""
    return PlainPage(tuple(alarms_of(m)), _question(m), tuple(_recommendation(m)), tuple(_sure(m)), tuple(wrong_of(m)))


def alarms_of(m: Material) -> list[str]:
    """What a reader must know before anything else."""
    found = []
    if m.withheld:
        found.append(f"No recommendation is given. {_why_withheld(m)}")
    if m.leans:
        found.append("This finding is exploratory. " + " ".join(_lean_words(m, lean) for lean in m.leans[:4]) +
                     " So few patients cannot carry a recommendation. Take it as a reason to study the question further, not as a ground for "
                     "changing care.")
    if m.observed_decisions:
        names = list_words([called(n) for n in m.observed_decisions])
        found.append(f"Treatments were observed, not randomized (at {names}). Patients who received different treatments may have differed in other "
                     "ways as well, and the analysis cannot see ways that were not recorded.")
    return found


def _why_withheld(m: Material) -> str:
    c = m.regime.posterior.verdict.convergence
    status, _ = convergence_reasons(c)
    why = []
    if status == "fail":
        if c.rhat > RHAT_FAIL:
            why.append("repeated runs of the computation, which should agree, gave different answers")
        if min(c.ess_bulk, c.ess_tail) < ESS_FAIL:
            why.append("the computation drew too little information to give stable numbers")
        if not why:
            why.append("the computation could not explore all answers that the data allow")
    text = list_words(why) or "the result did not pass the checks that every result must pass"
    return f"The reason: {text}. The rule that came out is therefore withheld. The details stand in the section on computation."


def _lean_words(m: Material, lean: Lean) -> str:
    history = [f"{name_words(n)} was {_value_words(m, n, v)}" if n != CONDITION else
               list_words(_condition_words(m, m.study[lean.cell.decision], v, {x for x, _ in lean.cell.history}))  # type: ignore[arg-type]
               for n, v in lean.cell.history]
    where = f" among those for whom {list_words(history)}" if history else ""
    who = "Nobody" if lean.patients == 0 else f"Only {count_words(lean.patients)} patient{'' if lean.patients == 1 else 's'}"
    return f"{who} received {name_words(lean.option)} at {called(lean.cell.decision)}{where}, yet the rule recommends it there."


def _question(m: Material) -> str:
    parts = []
    for i, d in enumerate(m.study.decisions, 1):
        rank = RANKS[i] if i < len(RANKS) else f"decision number {i}"
        free = list(dict.fromkeys(o for s in d.sets if len(s) > 1 for o in s)) or list(d.options)
        parts.append(f"the {rank}, {called(d.name)}, offers {list_words([name_words(o) for o in free], 'or')}")
    n = len(m.study.decisions)
    what = "one decision" if n == 1 else f"{count_words(n)} decisions, one after the other"
    return (f"Each patient comes to {what}: {'; '.join(parts)}. Which choices, made in view of what is known of the patient by then, give the "
            f"best result on average? Best means that {utility_words(m)} is as large as possible. "
            f"The answer below comes from {m.regime.posterior.trajectories.n} patients.")


def _recommendation(m: Material) -> list[str]:
    if m.withheld:
        return ["Withheld: no recommendation is given, for the reason above."]
    lines, shortened = [], False
    for d in m.study.decisions:
        mine = [b for b in m.followed_branches if b.decision == d.name and not b.forced]
        title = called(d.name)
        if not mine:
            lines.append(f"At {title}: nobody in the data has reached a choice here, so nothing is recommended.")
        elif len({b.option for b in mine}) == 1 and all(b.agreement == 1 for b in mine):
            who = "everyone" if len(mine) == 1 and not mine[0].condition else "everyone who has followed the rule so far and has a choice"
            lines.append(f"At {title}: {name_words(mine[0].option)}, for {who}.")
        else:
            lines += [f"At {title}: {name_words(b.option)}, if {when_words(m, b)}." for b in mine[:MOST_LINES]]
            shortened |= len(mine) > MOST_LINES
    agreement = {(b.decision, b.history, b.agreement, b.patients) for b in m.followed_branches}
    total = sum(n for *_, n in agreement)
    share = sum(a * n for *_, a, n in agreement) / total if total else 1.0
    if share < 1:
        lines.append(f"These lines are a simplified form of the rule: they say the same as the full computation for {chance_words(share)} patients.")
    if shortened:
        lines.append("The full list stands in the section on results.")
    return lines + _safety_words(m)


def _sure(m: Material) -> list[str]:
    if m.withheld:
        return ["Nothing can be said until the computation passes its checks."]
    value, rows = m.regime.value(), m.comparison.rows
    digits = digits_for(value.sd)
    say = lambda x: number_words(x, digits)  # noqa: E731
    found = [f"If all patients like these followed the rule, {utility_words(m)} would be about {say(value.mean)}. According to the model it lies "
             f"between {say(value.lower)} and {say(value.upper)} with a probability of {round(100 * value.ci_prob)} in 100."]
    if m.honest is not None:
        found.append(_honest_words(m.honest))
    if isinstance(m.regime.posterior, StackedPosterior):
        found.append(f"{count_words(len(m.regime.posterior.models)).capitalize()} models of how patients respond were at hand. None was chosen; all "
                     "answers here are averages over them, in which a model counts the more, the better it foretold patients it had not seen.")
    first = m.cells[0] if m.cells and not m.cells[0].history else None
    if first is not None and max(o.share for o in first.options) == 1:
        top = max(first.options, key=lambda o: o.share)
        found.append(f"The probability that {name_words(top.option)} is the {'better' if len(first.options) == 2 else 'best'} start is "
                     f"{chance_words(top.p_best)}.")
    if m.study.reference is not None and (gain := m.reference_gain) is not None:
        side = "higher" if gain.mean >= 0 else "lower"
        care = f"the standard care named for this study ({rules_words(m.study.reference)})"
        found.append(f"Compared with {care}, this is {say(abs(gain.mean))} {side} on average; the difference lies between {say(gain.lower)} and "
                     f"{say(gain.upper)} with a probability of "
                     f"{round(100 * gain.ci_prob)} in 100.")
    if len(rows) > 1:
        inside, total = sum(r.in_best_set for r in rows), count_words(len(rows))
        apart = "none of the others can be ruled out as the best with these data"
        if inside == 1:
            apart = "all others can be ruled out as the best"
        elif inside < len(rows):
            apart = f"{count_words(inside)} of the {total}, itself included, cannot be told apart from the best with these data"
        found.append(f"{total.capitalize()} simple rules could be compared with one another. The probability that the one that came out best is "
                     f"truly the best of them is {chance_words(rows[m.comparison.best].p_best)}; {apart}.")
    return found


def _safety_words(m: Material) -> list[str]:
    """What safety gates did, one sentence for each decision that has some."""
    found = []
    for c in m.regime.shield().counts if m.regime.safety is not None else ():
        gone = [f"{name_words(o)} for {n}" for o, n in c.removed if n]
        said = f"of the {c.patients} patients with a choice at {called(c.decision)}, it removed {list_words(gone)}" if gone else \
            f"at {called(c.decision)} it removed nothing"
        stood = f"; for {c.shielded} nothing was left, and {name_words(c.default or '')} was taken as agreed beforehand" if c.shielded else ""
        found.append(f"A safety rule fixed beforehand takes away treatments that are too likely to do harm or too unlikely to help: {said}{stood}.")
    return found


def _honest_words(honest: HonestValue) -> str:
    """What rules like this achieved in patients they had not seen."""
    digits = digits_for(honest.se)
    say = lambda x: number_words(x, digits)  # noqa: E731
    found = (f"Rules found in the same way from a part of the patients were judged by others: on average they would have achieved about "
             f"{say(honest.mean)}, within a margin of error from {say(honest.lower)} to {say(honest.upper)}.")
    if not honest.reliable:
        found += " Too few patients happened to be treated as those rules say, so this figure is unreliable."
    return found


def wrong_of(m: Material) -> list[str]:
    """What could be wrong, a sentence each."""
    verdict, t = m.regime.posterior.verdict, m.regime.posterior.trajectories
    found = []
    leaning = {(lean.cell.decision, lean.option) for lean in m.leans}
    sparse = sum(n < SPARSE for c in verdict.positivity for n in c.counts)
    if sparse:
        more = " The rule leans on such a situation." if leaning else ""
        found.append(f"In {count_words(sparse)} situation{'' if sparse == 1 else 's'} a treatment was received by fewer than five patients; what is "
                     f"said about {'it' if sparse == 1 else 'them'} is little more than a guess.{more}")
    if m.observed_decisions:
        found.append("Since treatments were chosen and not drawn by lot, a difference between treatments may in truth be a difference between the "
                     "patients who chose them. The size and even the direction of this error are unknown.")
    if not m.withheld and convergence_reasons(verdict.convergence)[0] != "ok":
        found.append("The computation had not settled completely; numbers may move a little when it is run longer.")
    if any(p.misfit for p in verdict.predictive):
        found.append("The model does not reproduce some features of the data, which the section on checks of the model shows.")
    if any(c.near_tie or c.mc_tie for c in m.cells):
        found.append("For some patients two options are so close that the choice between them hardly matters, or could turn with chance.")
    if ended := [called(r.name) for r in m.study.responses if t.censored(r.name).any()]:
        found.append(f"Some patients were followed for less than the whole of {list_words(ended, 'or')}. The analysis assumes that following them "
                     "ended for reasons that tell nothing about what came after.")
    if any((t.reached(m.study, n.name) & ~t.observed(n.name)).any() for n in m.study.timeline):
        shift = shift_of(m.regime.posterior)
        assumed = "that what is missing can be foreseen from what was recorded before"
        if shift:
            assumed = f"that missing values of {called(shift['response'])} differ from recorded ones by a chosen amount, which no data can check"
        found.append(f"Some values of patients are missing. The analysis assumes {assumed}.")
    if not m.withheld:
        found.append("The rule was found and valued with the same patients, so its expected result under the model is likely to be somewhat too "
                     "favorable.")
    found.append("All of this rests on a model of how patients respond, and holds for patients like those studied and treated as they were.")
    return found
