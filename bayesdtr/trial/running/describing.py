"""What a design or a scenario is, as plain data with a digest: how a store knows whose run it holds."""

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...errors import TrialError
from ...study import Study
from ...study.codec import encode
from ...study.models import source_hash

KIND = "kind"


def describe(value: Any) -> Any:
    """Turn a declaration into plain lists, dicts, texts and numbers, from which a digest is made.

    Frozen dataclasses give their kind and their fields; functions their address, their source and whatever they close over; a `Study` what it
    is saved as; anything else what its `description()` says.

    Raises
    ------
    TrialError
        For a value of which it cannot be told whether two of them are the same.
    """
    if isinstance(value, Study):
        return encode(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, np.generic):
        return describe(value.item())
    if isinstance(value, np.ndarray):
        return [describe(v) for v in value.tolist()]
    if callable(getattr(value, "description", None)) and not isinstance(value, type):
        return {KIND: type(value).__qualname__, "description": describe(value.description())}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {KIND: type(value).__qualname__, **{f.name: describe(getattr(value, f.name)) for f in dataclasses.fields(value)}}
    if isinstance(value, Mapping):
        return {str(k): describe(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((describe(v) for v in value), key=repr)
    if isinstance(value, (tuple, list, range)):
        return [describe(v) for v in value]
    if callable(value):
        return _function(value)
    raise TrialError(f"{value!r} is part of a simulation and cannot be told from others like it; give its class a method description() "
                     "that returns plain lists, dicts, texts and numbers.")


def _function(value: Callable[..., Any]) -> dict[str, Any]:
    if isinstance(value, partial):
        return {KIND: "partial", "function": _function(value.func), "arguments": describe([list(value.args), dict(value.keywords)])}
    if inspect.ismethod(value):
        return {KIND: "method", "function": _function(value.__func__), "of": describe(value.__self__)}
    address = f"{getattr(value, '__module__', '?')}:{getattr(value, '__qualname__', type(value).__qualname__)}"
    made: dict[str, Any] = {KIND: "function", "address": address, "source": source_hash(value)}
    if cells := getattr(value, "__closure__", None):
        made["closed over"] = describe([c.cell_contents for c in cells])
    if defaults := getattr(value, "__defaults__", None):
        made["defaults"] = describe(list(defaults))
    return made


def digest(description: Any) -> str:
    """Digest of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:32]


def differences(there: Any, here: Any, where: str = "", limit: int = 3) -> list[str]:
    """Where two descriptions differ, in words: at most `limit` places."""
    if isinstance(there, dict) and isinstance(here, dict):
        names = [n for n in {**there, **here} if n not in there or n not in here or there[n] != here[n]]
        found = [d for n in names for d in differences(there.get(n), here.get(n), f"{where}.{n}" if where else n, limit)]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        found = [d for i, (a, b) in enumerate(zip(there, here, strict=True)) if a != b for d in differences(a, b, f"{where}[{i}]", limit)]
    else:
        found = [] if there == here else [f"{where or 'it'} is {_short(there)} there and {_short(here)} here"]
    return found[:limit]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
