"""Programs kept on disk: what was built and traced once is read back by later processes.

XLA's own cache spares compilation, not the building of a model and its tracing, which take longer
once that cache is warm. Entries are named by digests of all they depend on, the package's own
sources and the versions of what it computes with among them, so that an entry is never out of date:
it is found or it is not. An entry that cannot be read or written costs time, never an answer.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from .runtime import cache_folder, prepare

COMPUTED_WITH = ("jax", "jaxlib", "numpyro", "pymc", "pytensor", "numpy")
SETTINGS = ("jax_default_prng_impl", "jax_threefry_partitionable", "jax_default_matmul_precision")
"""Settings of the process that change what a function is traced to."""
UNUSED_DAYS = 30
"""Entries of another version that nobody has added to for so long are removed."""
_DIGEST = 32


@functools.cache
def fingerprint() -> str:
    """Digest of the package's sources and of the versions of what it computes with."""
    found = hashlib.sha256()
    here = Path(__file__).parent
    for path in sorted(here.rglob("*.py")):
        found.update(f"{path.relative_to(here)}\0".encode() + path.read_bytes() + b"\0")
    for name in COMPUTED_WITH:
        found.update(f"{name} {importlib.metadata.version(name)}\0".encode())
    return found.hexdigest()[:_DIGEST]


def digest(*parts: str) -> str:
    """Name of an entry."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_DIGEST]


@functools.cache
def _folder() -> Path | None:
    """Folder of this version's entries; None where nothing is kept."""
    cache = cache_folder()
    if cache is None:
        return None
    folder = cache / "programs" / fingerprint()
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            _remove_unused(folder.parent)
    except OSError:
        return None
    return folder


def _remove_unused(versions: Path) -> None:
    for other in versions.iterdir():
        if other.is_dir() and other.stat().st_mtime < time.time() - UNUSED_DAYS * 86400:
            shutil.rmtree(other, ignore_errors=True)


def read(name: str) -> bytes | None:
    """An entry's content, or None where there is none or it is damaged."""
    if (folder := _folder()) is None:
        return None
    try:
        whole = (folder / name).read_bytes()
    except OSError:
        return None
    check, content = whole[:_DIGEST], whole[_DIGEST:]
    return content if hashlib.sha256(content).digest() == check else None


def write(name: str, content: bytes) -> None:
    """Keep an entry; whole or not at all."""
    if (folder := _folder()) is None:
        return
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.replace(temporary, folder / name)
        except OSError:
            os.unlink(temporary)
            raise


BESIDE: dict[str, str | bool] = {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED", "xla_cpu_multi_thread_eigen": False}
"""Options of programs that run beside each other. On processors alone; by default steps are put in an order that would let threads share them,
which spreads what is worked on over more memory: a tenth more time for the looks of a trial."""


class Program:
    """A compiled program for arguments of one shape, with the shapes of what it returns.

    Attributes
    ----------
    out : tree of jax.ShapeDtypeStruct
    """

    def __init__(self, call: Callable[..., Any], out: Any):
        self.call, self.out = call, out

    def __call__(self, *arguments: Any) -> Any:
        """Run it."""
        return self.call(*arguments)


class Kept:
    """A function compiled for each shape of its arguments, as by ``jax.jit``, whose traced programs are kept on disk.

    Parameters
    ----------
    function : callable
        Pure, of trees of arrays (dicts and tuples), to such a tree. Random keys travel as raw data.
    address : str or None
        Of the response that the function is made from (:class:`bayesdtr.model.CompiledResponse`). With None nothing is kept.
    *what : str
        Names the function among those of the response: all else that its body depends on.
    beside : bool
        Whether the program runs beside others, one on each core, so that it is kept to one thread.
    """

    def __init__(self, function: Callable[..., Any], address: str | None, *what: str, beside: bool = False):
        self._function, self._address = function, None if address is None else digest(address, *what)
        self._options = BESIDE if beside else None
        self._programs: dict[Any, Program] = {}
        self._lock = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Run the function; call it in double precision."""
        return self.fetch(*arguments)(*arguments)

    def fetch(self, *arguments: Any) -> Program:
        """The program for arguments of these shapes (arrays, or ``jax.ShapeDtypeStruct``), from disk where it is there."""
        leaves, tree = jax.tree.flatten(arguments)
        signature = (tree, *((np.shape(x), np.dtype(x.dtype if hasattr(x, "dtype") else type(x)).name) for x in leaves))
        if signature not in self._programs:
            with self._lock:  # compiled once, whichever thread comes first
                if signature not in self._programs:
                    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in signature[1:]]
                    self._programs[signature] = self._made(jax.tree.unflatten(tree, shapes), signature)
        return self._programs[signature]

    def _made(self, shapes: Any, signature: tuple[Any, ...]) -> Program:
        prepare()
        if self._address is None or _folder() is None:
            traced = jax.jit(self._function)
            return Program(traced.lower(*shapes).compile(self._options), jax.eval_shape(traced, *shapes))
        settings = [str(getattr(jax.config, name)) for name in SETTINGS]
        name = digest(self._address, jax.default_backend(), *settings, str(signature))
        text = read(name)
        if text is None:
            text = export.export(jax.jit(self._function))(*shapes).serialize()
            write(name, text)
        exported = export.deserialize(bytearray(text))
        out = jax.tree.unflatten(exported.out_tree, [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in exported.out_avals])
        return Program(jax.jit(exported.call).lower(*shapes).compile(self._options), out)
