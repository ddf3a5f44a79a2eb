"""Functions as values: a user's function with its address and a fingerprint of all that it computes with."""

import functools
import hashlib
import inspect
import numbers
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...study import Study
from ...study.models import source_hash
from ...study.timeline import labels_of


@dataclass(frozen=True)
class Function:
    """A function; two are equal when their address is, their source, and the data that they close over or find in their module.

    Attributes
    ----------
    address : str
        ``module:qualified name``.
    digest : str
        Of the source, defaults, and the values (numbers, texts, arrays, further functions) that the source refers to.
    """

    address: str
    digest: str
    call: Callable[..., Any] = field(compare=False, repr=False)

    @classmethod
    def of(cls, function: Callable[..., Any]) -> "Function":
        """Wrap a function; nothing is called."""
        made = hashlib.sha256()
        _feed(made, function, set())
        return cls(_address(function), made.hexdigest()[:16], function)

    def answers(self, study: Study, response: str, columns: Mapping[str, np.ndarray]) -> Any:
        """What it says of histories before a response, columns as codes, of shape (m,)."""
        return self.call(labelled(study, response, columns))

    def looks_at(self, name: str) -> bool:
        """Whether its answer may depend on a variable: a user's function may look at all."""
        return True

    def check(self, study: Study, response: str, what: str) -> None:
        """Raise `TrialError` where it says nothing of a study's response; a user's function is found out when it is called."""

    def description(self) -> dict[str, str]:
        """Plain data that tell it from others."""
        return {"function": self.address, "digest": self.digest}

    def __str__(self) -> str:
        return f"{self.address.split(':')[-1]}()"


def labelled(study: Study, response: str, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A history before a response as users' functions see it: labels as text, numbers as floats."""
    seen = {}
    for node in study.before(response):
        labels = labels_of(node)
        values = np.asarray(columns[node.name])
        seen[node.name] = values.astype(float) if labels is None else np.array(labels)[values.astype(np.intp)]
    return seen


def _address(value: Any) -> str:
    inner = value.func if isinstance(value, functools.partial) else value
    kind = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{getattr(kind, '__module__', '?')}:{getattr(kind, '__qualname__', '?')}"


def _feed(into: Any, value: Any, seen: set[int]) -> None:
    """Add a value to a hash, whatever it is made of, the same in every process."""
    add = lambda text: into.update(f"{text};".encode())  # noqa: E731
    if value is None or isinstance(value, (str, bytes, bool, numbers.Number)):
        return add(f"{type(value).__name__} {value!r}")
    if isinstance(value, (types.ModuleType, type, types.BuiltinFunctionType, np.ufunc)):
        return add(getattr(value, "__qualname__", None) or getattr(value, "__name__", repr(type(value))))
    if id(value) in seen:
        return add("again")
    seen.add(id(value))
    if isinstance(value, np.ndarray) and value.dtype != object:
        add(f"array {value.dtype} {value.shape}")
        return into.update(np.ascontiguousarray(value).tobytes())
    add(_address(value))
    for part in _parts(value):
        _feed(into, part, seen)
    return None


def _parts(value: Any) -> list[Any]:
    """What a value consists of."""
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if inspect.ismethod(value):
        return [value.__func__, value.__self__]
    if inspect.isfunction(value):
        used = inspect.getclosurevars(value)
        named = [x for group in (used.nonlocals, used.globals) for item in sorted(group.items()) for x in item]
        return [source_hash(value), value.__defaults__, value.__kwdefaults__, *named]
    if isinstance(value, Mapping):
        return [x for item in value.items() for x in item]
    if isinstance(value, (set, frozenset)):
        return sorted(map(repr, value))
    if isinstance(value, (list, tuple, np.ndarray)):
        return list(value)
    if hasattr(value, "__dict__"):
        return [vars(value)]
    try:
        return list(value.__reduce_ex__(4))  # what it would be rebuilt from
    except TypeError:
        return []
