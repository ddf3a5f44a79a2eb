"""Formula strings for covariates: ``"age + C(sex) + age:C(sex) + s(bmi)"``, parsed without any library.

    formula = product { "+" product }
    product = term { "*" term }              a * b  is  a + b + a:b
    term    = atom { ":" atom }
    atom    = name | C(name) | s(name) | "(" formula ")"

A name that is no Python name stands between backquotes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import StudyError, did_you_mean

_TOKEN = re.compile(r"\s*(?:(?P<quoted>`[^`]+`)|(?P<name>[^\W\d]\w*)|(?P<mark>[+:*()])|(?P<other>\S))")
FUNCTIONS = ("C", "s")
ALLOWED = "names, C(name) for labels, s(name) for a smooth curve, and the signs + : * ( )"


@dataclass(frozen=True, order=True)
class Piece:
    """One variable of a term: as it is (``""``), as labels (``"C"``) or as a smooth curve (``"s"``)."""

    name: str
    function: str = ""

    def __str__(self) -> str:
        name = self.name if self.name.isidentifier() else f"`{self.name}`"
        return f"{self.function}({name})" if self.function else name


Term = tuple[Piece, ...]


def parse(formula: str, where: str) -> tuple[Term, ...]:
    """Terms of a formula, in the order of writing, each once.

    Parameters
    ----------
    formula : str
    where : str
        Begins the message of an error.

    Raises
    ------
    StudyError
        When the text is not such a formula; the message marks the place.
    """
    if not isinstance(formula, str) or not formula.strip():
        raise StudyError(f'{where} is a formula such as "age + C(sex) + s(bmi)", got {formula!r}.')
    return _Parser(formula, where).whole()


class _Parser:
    def __init__(self, text: str, where: str):
        self.text, self.where, self.at = text, where, 0
        self.tokens: list[tuple[str, str, int]] = []
        for match in _TOKEN.finditer(text):
            kind = str(match.lastgroup)
            if kind == "other":
                self.fail(match.start(kind), _advice(match[kind]))
            self.tokens.append((kind, match[kind].strip("`"), match.start(kind)))

    def fail(self, place: int, why: str) -> None:
        marked = f"{self.text[:place]}⟨here⟩{self.text[place:]}"
        raise StudyError(f"{self.where}: {why} in {marked!r}; a formula holds {ALLOWED}.")

    def peek(self, mark: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at][:2] == ("mark", mark)

    def take(self, mark: str) -> bool:
        found = self.peek(mark)
        self.at += found
        return found

    def place(self) -> int:
        return self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)

    def whole(self) -> tuple[Term, ...]:
        terms = self.sums()
        if self.at < len(self.tokens):
            self.fail(self.place(), f"{self.tokens[self.at][1]!r} is out of place")
        return terms

    def sums(self) -> tuple[Term, ...]:
        terms = self.product()
        while self.take("+"):
            terms = (*terms, *self.product())
        return tuple(dict.fromkeys(terms))

    def product(self) -> tuple[Term, ...]:
        terms = self.crossed()
        while self.take("*"):
            right = self.crossed()
            terms = (*terms, *right, *(_join(a, b) for a in terms for b in right))
        return terms

    def crossed(self) -> tuple[Term, ...]:
        terms = self.atom()
        while self.take(":"):
            right = self.atom()
            terms = tuple(_join(a, b) for a in terms for b in right)
        return terms

    def atom(self) -> tuple[Term, ...]:
        place = self.place()
        if self.take("("):
            terms = self.sums()
            if not self.take(")"):
                self.fail(self.place(), "a closing bracket is missing")
            return terms
        name = self.name()
        if not self.take("("):
            return ((Piece(name),),)
        if name not in FUNCTIONS:
            self.fail(place, f"there is no function {name!r}{did_you_mean(name, FUNCTIONS)}")
        inside = self.name()
        if not self.take(")"):
            self.fail(self.place(), f"{name}() takes one variable, so a closing bracket is missing")
        return ((Piece(inside, name),),)

    def name(self) -> str:
        if self.at == len(self.tokens) or self.tokens[self.at][0] == "mark":
            self.fail(self.place(), "a variable is missing")
        self.at += 1
        return self.tokens[self.at - 1][1]


def _advice(sign: str) -> str:
    if sign == "~":
        return "the response stands outside the formula, so '~' is not allowed"
    if sign in "-0123456789":
        return f"{sign!r} is not allowed (the intercept is always there, and what is left out is not in the model)"
    return f"{sign!r} is not allowed"


def _join(a: Sequence[Piece], b: Sequence[Piece]) -> Term:
    return tuple(dict.fromkeys((*a, *b)))
