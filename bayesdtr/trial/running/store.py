"""A run on disk: Zarr arrays that grow batch by batch, and a log that makes a batch count when all of it is written.

A batch's chunks are written first (each to a temporary name, then renamed), its line in the log last (appended and synced). A process that
dies in between leaves chunks that no line vouches for; they are written again. The line holds a checksum of the batch, which is compared when
a store is opened, so that chunks a machine lost with its power are not taken for results.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from ...errors import TrialError
from ..layout import Layout
from ..records import FIELDS, REPLICATE, Records, kept, shape

CHUNK = 512
"""Replicates in a chunk of every array, where nothing else is asked for; batches never cross from one chunk to the next."""
PIPELINE = {"codec_pipeline.path": "zarr.core.codec_pipeline.FusedCodecPipeline"}

Span = tuple[int, int]
"""First replicate of a batch, and one more than its last."""


class Store:
    """Records of one design under one scenario, in a Zarr group, with the log of its batches.

    Parameters
    ----------
    group : path
        Folder of the Zarr group.
    log : path
        File of the log.
    layout : Layout
    keep : {"summary", "looks", "patients"}
    chunk : int, optional
        Replicates in a chunk of a store that is made; one that is there has its own.

    Attributes
    ----------
    chunk : int
    done : dict of (int, int) to int
        Batches that count, with their checksums.
    damaged : list of (int, int)
        Batches that the log vouched for and whose chunks are no longer what they were.
    """

    def __init__(self, group: Path, log: Path, layout: Layout, keep: str, chunk: int | None = None):
        self.path, self.log, self.layout, self.keep = group, log, layout, keep
        self.chunk = chunk or CHUNK
        self.done: dict[Span, int] = {}
        self.sessions: list[dict[str, Any]] = []
        self.damaged: list[Span] = []
        self._arrays: dict[str, Any] = {}

    def open(self, *, write: bool = False) -> "Store":
        """Read the log and check every batch against it; for writing, make what is not there yet.

        Raises
        ------
        TrialError
            When nothing is there and nothing is to be written.
        """
        if write:
            self._create()
        elif not (self.path / "zarr.json").is_file():
            raise TrialError(f"There is no run in {self.path}.")
        with zarr.config.set(PIPELINE):
            group = zarr.open_group(self.path, mode="r+" if write else "r")
            self._arrays = {name: group[name].with_config({"write_empty_chunks": True, "read_missing_chunks": False}) for name in kept(self.keep)
                            if (self.path / name / "zarr.json").is_file()}
        self.chunk = next((array.chunks[0] for array in self._arrays.values()), self.chunk)
        self._read_log(write)
        for span, check in list(self.done.items()):
            if self._checksum_there(span) != check:
                self.damaged.append(span)
                del self.done[span]
        return self

    def _create(self) -> None:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(self.path, mode="a", zarr_format=3)
        for name in kept(self.keep):
            if (self.path / name / "zarr.json").is_file():
                continue
            field, dims = FIELDS[name], shape(name, self.layout, 0)
            group.create_array(name, shape=dims, chunks=(self.chunk, *(max(d, 1) for d in dims[1:])), dtype=field.dtype, compressors="auto",
                               fill_value=_fill(field.dtype), dimension_names=(REPLICATE, *field.dims), attributes={"meaning": field.meaning})

    def _read_log(self, write: bool) -> None:
        """Take in every whole line; a last one torn by a crash is cut off before anything is added."""
        whole = 0
        with suppress(FileNotFoundError):
            content = self.log.read_bytes()
            for line in content.splitlines(keepends=True):
                if not line.endswith(b"\n"):
                    break
                try:
                    entry = json.loads(line)
                except ValueError:
                    break
                whole += len(line)
                if "session" in entry:
                    self.sessions.append(entry["session"])
                else:
                    self.done[tuple(entry["batch"])] = entry["check"]  # type: ignore[index]
            if write and whole < len(content):
                os.truncate(self.log, whole)

    # ---- writing ---------------------------------------------------------------------------------

    def start(self, session: dict[str, Any]) -> None:
        """Note who adds to the store from now on: versions, and a fingerprint of the sources."""
        if session not in self.sessions[-1:]:
            self._append({"session": session})
            self.sessions.append(session)

    def grow(self, replicates: int) -> None:
        """Make room; arrays never shrink."""
        for name, array in self._arrays.items():
            if array.shape[0] < replicates:
                array.resize(shape(name, self.layout, replicates))

    def write(self, span: Span, records: Records) -> None:
        """Write a batch, and let it count."""
        start, stop = span
        check_records(records, self.layout, stop - start, self.keep)
        self.grow(stop)
        for name, array in self._arrays.items():
            array[start:stop] = records[name]
        check = checksum(records, self.keep)
        self._append({"batch": [start, stop], "check": check})
        self.done[span] = check

    def _append(self, entry: dict[str, Any]) -> None:
        with self.log.open("ab") as file:
            file.write(json.dumps(entry).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    # ---- reading ---------------------------------------------------------------------------------

    @property
    def replicates(self) -> int:
        """Number of replicates without a gap from the first on."""
        reached = 0
        for start, stop in sorted(self.done):
            if start > reached:
                break
            reached = max(reached, stop)
        return reached

    def missing(self, replicates: int, parts: int = 1) -> Iterator[Span]:
        """Batches that are yet to be simulated, each a chunk or one of its `parts`, none across the border of a chunk."""
        reached, most = 0, -(-self.chunk // parts)
        for start, stop in [*sorted(self.done), (replicates, replicates)]:
            while reached < min(start, replicates):
                end = min(start, replicates, reached + most, (reached // self.chunk + 1) * self.chunk)
                yield reached, end
                reached = end
            reached = max(reached, stop)

    def read(self, field: str, start: int, stop: int) -> np.ndarray:
        """Some replicates of an array."""
        return np.asarray(self._arrays[field][start:stop])

    def _checksum_there(self, span: Span) -> int | None:
        if any(a.shape[0] < span[1] for a in self._arrays.values()) or set(self._arrays) != set(kept(self.keep)):
            return None
        try:
            return checksum({name: self.read(name, *span) for name in kept(self.keep)}, self.keep)
        except Exception:  # a chunk that is gone, cut short or cannot be decoded: each codec has its own errors
            return None


def _fill(dtype: str) -> Any:
    return np.nan if dtype == "float64" else False if dtype == "bool" else -1


def checksum(records: Mapping[str, np.ndarray], keep: str) -> int:
    """CRC-32 of the bytes of all arrays at a level of detail."""
    found = 0
    for name in kept(keep):
        found = zlib.crc32(np.ascontiguousarray(records[name]).astype(np.dtype(FIELDS[name].dtype).newbyteorder("<"), copy=False).data, found)
    return found


def check_records(records: Records, layout: Layout, replicates: int, keep: str) -> None:
    """Raise `TrialError` where an engine's records are not what the contract says."""
    for name in kept(keep):
        if name not in records:
            raise TrialError(f"The simulator left out the array {name!r}; its records cannot be kept.")
        there, wanted = records[name], shape(name, layout, replicates)
        if there.shape != wanted or there.dtype != FIELDS[name].dtype:
            raise TrialError(f"The simulator's array {name!r} is {there.dtype} {there.shape} instead of {FIELDS[name].dtype} {wanted}.")
