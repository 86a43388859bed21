"""The third step of a fit, chunk by chunk: here, or on the workers of a cluster.

Either way this process reads all signals in order, holds the part file, and appends each chunk to it in its turn. A worker gets
what was made ready once, reads its chunk from the store itself where it can, and is sent the signals where it cannot.
What it has read is compared with what was read here, by a checksum. A voxel's result depends on its signals, its number
and what was made ready alone, so it is the same wherever it is computed.
"""

import copy
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from ivimsc.cluster import Cluster, run_jobs
from ivimsc.device.launch import BLOCK, Launch
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit.identity import Seen
from ivimsc.fit.prepare import Prepared
from ivimsc.fitter import Inputs
from ivimsc.store import PartFile, VoxelStore
from ivimsc.voxels import SelectedVoxels

__all__ = ["Chunk", "Fitted", "Reading", "Source", "Work", "fit_chunk", "fit_chunks"]

CHUNK_SIGNALS = 2**21  # most signals per chunk: 8 MB of float32, so that a store of any size stays far below 1 GiB
IN_FLIGHT = 2**26  # most signals of all chunks that are under way on a cluster: 256 MB
FIRST_CHUNK = 4 * BLOCK  # voxels; the next are as long as QUICK and SLOW allow: slow methods show progress too
QUICK, SLOW = 0.25, 1.0  # s per chunk: shorter ones are doubled, longer ones halved


class Source(NamedTuple):
    """Where a worker can read signals: path of the voxel store, its checksum, and the b-values that are used (None: all)."""

    path: str
    signals_sha256: str
    bvalues: tuple[float, ...] | None


class Work(NamedTuple):
    """What all chunks share: the fit made ready, where its voxels can be read, and the number of the first of them."""

    prepared: Prepared
    source: Source | None = None
    offset: int = 0


class Chunk(NamedTuple):
    """Voxels start..stop of those that are fitted.

    seen: checksum of all that was read up to stop; crc32: of this chunk's signals; signals (voxel, b) and s0 (voxel,): None
    where a worker is to read them.
    """

    start: int
    stop: int
    seen: str
    crc32: int
    signals: NDArray[np.float32] | None = None
    s0: NDArray[np.float32] | None = None


class Fitted(NamedTuple):
    """A chunk's estimates; how long it took, by the clock and in CPU time [s]."""

    estimates: Estimates
    seconds: float
    cpu: float


class Unread(NamedTuple):
    """A worker cannot read the signals: the chunk is to be sent to it."""

    why: str


def fit_chunk(work: Work, chunk: Chunk) -> Fitted | Unread:
    """Fit one chunk of voxels, here or on a worker."""
    # a worker may do several jobs at once, each on one thread
    clock = time.thread_time if work.prepared.fitter.launch.threads == 1 else time.process_time
    begin, cpu = time.perf_counter(), clock()
    signals, s0 = chunk.signals, chunk.s0
    if signals is not None:
        signals = np.require(
            signals, requirements=["C", "W"]
        )  # what came over the network may be read-only: other kernels
    else:
        try:
            signals, s0 = _read(work.source, work.offset + chunk.start, work.offset + chunk.stop)
        except InputError as error:
            return Unread(str(error))
        if crc32_of(signals, s0) != chunk.crc32:
            return Unread(f"{work.source.path}: found other signals in the voxels {chunk.start} to {chunk.stop}")
    estimates = work.prepared.fit(signals, work.offset + chunk.start, s0)
    return Fitted(estimates, time.perf_counter() - begin, clock() - cpu)


def crc32_of(signals: NDArray[np.float32], s0: NDArray[np.float32] | None) -> int:
    """CRC-32 of the signals of a chunk, and of those at b = 0 where they are read apart."""
    total = isal_zlib.crc32(np.ascontiguousarray(signals, "<f4").reshape(-1).view(np.uint8))
    return total if s0 is None else isal_zlib.crc32(np.ascontiguousarray(s0, "<f4").view(np.uint8), total)


def _read(source: Source, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    voxels = _opened(source)
    return voxels.read(start, stop), voxels.read_s0(start, stop)


@lru_cache(maxsize=2)
def _opened(source: Source) -> Any:
    """The store of a source, kept open on a worker; InputError where it is not there, or another one is."""
    store = VoxelStore(Path(source.path))
    if store.signals_sha256 != source.signals_sha256:
        store.close()
        raise InputError(f"{source.path}: found signals of SHA-256 {store.signals_sha256[:12]}…, expected {source.signals_sha256[:12]}…")  # fmt: skip
    return store if source.bvalues is None else SelectedVoxels(store, np.array(source.bvalues))


class Reading:
    """The chunks that are left of the voxels, read in order, with the checksum of all that was read.

    Parameters
    ----------
    voxels : what is fitted
    fixed : voxels per chunk; None: as many as take between `QUICK` and `SLOW` seconds
    most : most signals in a chunk
    """

    def __init__(self, voxels: Any, fixed: int | None, most: int = CHUNK_SIGNALS) -> None:
        self.voxels, self._fixed, self._seen = voxels, fixed, Seen()
        self._most = max(BLOCK, most // len(voxels.bvalues) // BLOCK * BLOCK)
        self._size = fixed or min(FIRST_CHUNK, self._most)
        self.keeps_signals = True  # in the chunks: else workers read them

    def skip(self, part: PartFile) -> None:
        """Read again what finished chunks were fitted to, and refuse other signals (InputError)."""
        for start, stop, checksum in part.chunks:
            self._seen.add(self.voxels.read(start, stop), self.voxels.read_s0(start, stop))
            if self._seen.sha256() != checksum:
                raise InputError(f"{part.path}: found chunks fitted to other signals (voxels {start} to {stop}), expected those of this fit: force=True starts anew")  # fmt: skip

    def chunks(self, start: int) -> Iterator[Chunk]:
        """The chunks from the voxel `start` on."""
        while start < len(self.voxels):
            stop = min(start + self._size, len(self.voxels))
            signals, s0 = self.voxels.read(start, stop), self.voxels.read_s0(start, stop)
            self._seen.add(signals, s0)
            chunk = Chunk(start, stop, self._seen.sha256(), 0, signals, s0)
            if not self.keeps_signals:
                chunk = chunk._replace(crc32=crc32_of(signals, s0), signals=None, s0=None)
            yield chunk
            start = stop

    def whole(self, chunk: Chunk) -> Chunk:
        """A chunk with its signals."""
        start, stop = chunk.start, chunk.stop
        return chunk._replace(signals=self.voxels.read(start, stop), s0=self.voxels.read_s0(start, stop))

    def took(self, seconds: float) -> None:
        """Make the next chunks longer or shorter."""
        if self._fixed is None and seconds < QUICK:
            self._size = min(2 * self._size, self._most)
        elif self._fixed is None and seconds > SLOW:
            self._size = max(self._size // 2, BLOCK)


def fit_chunks(part: PartFile, reading: Reading, work: Work, progress: Any, cluster: Cluster | None = None) -> float:
    """Fit what is left of the voxels, and append it to the part file.

    Parameters
    ----------
    part : of this fit; it may have chunks already
    reading : the voxels, from the first on
    work : what all chunks share
    progress : called with (voxels done, in all)
    cluster : whose workers fit; None: this process does

    Returns
    -------
    seconds of CPU on the workers; 0 without a cluster
    """
    reading.skip(part)
    total = len(reading.voxels)
    progress(part.done, total)
    reading.keeps_signals = cluster is None or work.source is None
    spent, again = 0.0, None
    if cluster is not None:
        work, again = work._replace(prepared=portable(work.prepared, cluster.threads)), _Sending(reading, cluster)
    for chunk, fitted in run_jobs(fit_chunk, reading.chunks(part.done), cluster, work, again=again):
        part.append(fitted.estimates, chunk.seen)
        progress(chunk.stop, total)
        reading.took(fitted.seconds)
        spent += 0.0 if cluster is None else fitted.cpu
    return spent


class _Sending:
    """Sends a chunk to a worker that cannot read it, and from then on all chunks; the user is told once."""

    def __init__(self, reading: Reading, cluster: Cluster) -> None:
        self._reading, self._cluster, self._told = reading, cluster, False

    def __call__(self, chunk: Chunk, result: Any) -> Chunk | None:
        if not isinstance(result, Unread):
            return None
        if not self._told:
            self._cluster.say(f"cluster: a worker cannot read the signals, and so they are sent ({result.why})")
        self._told = self._reading.keeps_signals = True
        return self._reading.whole(chunk)


def portable(prepared: Prepared, threads: int) -> Prepared:
    """The same fit for a worker: with as many threads, and without what only this process has."""
    fitter = copy.copy(prepared.fitter)
    fitter.launch = Launch("cpu", threads)
    return prepared._replace(fitter=fitter, inputs=Inputs(), notes=[])
