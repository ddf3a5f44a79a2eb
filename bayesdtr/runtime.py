"""The one place that touches JAX's and PyTensor's global state: precision, compilation cache, keys, progress.

Importing PyTensor's JAX bridge switches the whole process to 64-bit and writes an environment
variable; :func:`bridge` puts both back. Public numerical verbs run inside :func:`double_precision`,
which is local to the thread, so worker threads enter it themselves.
"""

import contextlib
import functools
import importlib
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import platformdirs

CACHE_VARIABLE = "BAYESDTR_CACHE"
"""Environment variable that moves the compilation cache; ``off`` switches it off."""

_COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"
_lock = threading.Lock()
_compile_seconds = 0.0
_listening = False


def double_precision() -> contextlib.AbstractContextManager[Any]:
    """Context in which JAX computes in 64 bits; the caller's setting returns on leaving."""
    prepare()
    return jax.enable_x64(True)


def in_double_precision[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function to run inside :func:`double_precision`."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with double_precision():
            return function(*args, **kwargs)

    return wrapped


@functools.cache
def bridge() -> Any:
    """Import PyMC's JAX bridge without its side effects on the process.

    Returns
    -------
    module
        ``pymc.sampling.jax``.
    """
    # In a thread of its own the flag reads as the process has it, whatever context the caller is in.
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(_import_bridge).result()


def _import_bridge() -> Any:
    wide = bool(jax.config.jax_enable_x64)
    flags = os.environ.get("XLA_FLAGS")
    try:
        return importlib.import_module("pymc.sampling.jax")
    finally:
        jax.config.update("jax_enable_x64", wide)
        if flags is None:
            os.environ.pop("XLA_FLAGS", None)
        else:
            os.environ["XLA_FLAGS"] = flags


def cache_folder() -> Path | None:
    """Folder of the persistent compilation cache, or None when it is switched off."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == "off":
        return None
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("bayesdtr")) / "xla"


@functools.cache
def prepare() -> None:
    """Point JAX at the persistent compilation cache, unless the user has chosen one, and start the compile clock."""
    global _listening
    folder = cache_folder()
    if folder is not None and not jax.config.jax_compilation_cache_dir:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            folder = None  # an unwritable home costs time, never an answer
    if folder is not None and not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if not _listening:
        jax.monitoring.register_event_duration_secs_listener(_on_duration)
        _listening = True


def _on_duration(event: str, duration: float, **_: Any) -> None:
    global _compile_seconds
    if event == _COMPILE_EVENT:
        with _lock:
            _compile_seconds += duration


def compile_seconds() -> float:
    """Seconds this process has spent in XLA compilation (fetching from the cache included)."""
    return _compile_seconds


def key(seed: int | jax.Array, *ids: int | str | jax.Array) -> jax.Array:
    """Random key of a seed and a path of ids, the same whatever the batch size or worker count.

    Parameters
    ----------
    seed : int
    *ids : int or str
        Folded in one after the other; texts by their CRC-32. Numbers may be traced.
    """
    made = jax.random.key(seed)
    for part in ids:
        made = jax.random.fold_in(made, zlib.crc32(part.encode()) if isinstance(part, str) else part)
    return made


def in_notebook() -> bool:
    """Whether the code runs in a Jupyter kernel."""
    shell = sys.modules.get("IPython")
    instance = shell.get_ipython() if shell is not None else None
    return instance is not None and "IPKernelApp" in getattr(instance, "config", {})


class Progress:
    """A progress bar that several threads may advance; silent when not wanted.

    Parameters
    ----------
    total : int
    description : str
    show : {"auto", True, False}
        "auto" shows it in a terminal or a notebook.
    unit : str
        What is counted; its rate and the time left stand beside it.
    """

    def __init__(self, total: int, description: str, show: str | bool = "auto", unit: str = "step"):
        wanted = (sys.stderr.isatty() or in_notebook()) if show == "auto" else bool(show)
        from tqdm import tqdm

        made = tqdm
        if wanted and in_notebook():
            with contextlib.suppress(ImportError):
                importlib.import_module("ipywidgets")
                from tqdm.notebook import tqdm as made
        self._bar = made(total=total, desc=description, unit=f" {unit}s", disable=not wanted, leave=False,
                         file=None if in_notebook() else sys.stderr)
        self._lock = threading.Lock()

    def advance(self, steps: int) -> None:
        """Move forward by a number of steps."""
        with self._lock:
            self._bar.update(steps)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


@contextlib.contextmanager
def progress(total: int, description: str, show: str | bool = "auto", unit: str = "step") -> Iterator[Progress]:
    """Context that holds a :class:`Progress` and closes it."""
    bar = Progress(total, description, show, unit)
    try:
        yield bar
    finally:
        bar.close()


def allowed_threads() -> int:
    """Threads that a call may keep busy: one in a task of a Dask worker, which has others for the other cores; else one for each core it may use."""
    distributed = sys.modules.get("distributed")
    if distributed is not None:
        with contextlib.suppress(ValueError):
            distributed.get_worker()
            return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
