"""Where kernels run: the device is chosen here, and nowhere else.

On the CPU a kernel is an ``@njit(nogil=True)`` function ``kernel(start, stop, *arrays)`` that handles the voxels
start..stop; `run_blocks` hands fixed blocks of voxels to plain threads. Against numba's own ``prange`` this needs no
threading layer (safe under fork, dask and calls from several threads), compiles in a fraction of the time, and Ctrl-C
stops it between two blocks. A voxel's result depends on that voxel alone, so neither threads nor blocks can change it.
"""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ivimsc.errors import DeviceError, InputError

__all__ = [
    "BLOCK",
    "Launch",
    "beside",
    "choose_device",
    "empty_beside",
    "find_gpus",
    "is_on_gpu",
    "leave_gpu",
    "on_host",
    "parse_device",
    "run_blocks",
    "usable_cores",
]

BLOCK = 4096  # voxels per call: long enough to hide the call (about 20 µs), short enough to share out evenly


@dataclass
class Launch:
    """Where something runs, and what happened there.

    Attributes
    ----------
    device : "cpu", or "cuda:0" and so on
    threads : CPU threads
    notes : what was chosen, and what happened to it later (chunks made smaller, say), for the user; it grows
    automatic : the GPU was not asked for by name
    kept : buffers of the GPU, filled by one call and used again by later ones
    cluster : other machines (`ivimsc.cluster`) for what can be done there; None: all is done here
    """

    device: str
    threads: int
    notes: list[str] = field(default_factory=list, compare=False)
    automatic: bool = False
    kept: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)
    cluster: Any = field(default=None, compare=False, repr=False)

    @property
    def on_gpu(self) -> bool:
        return self.device != "cpu"

    @property
    def gpu(self) -> int:
        """Number of the GPU."""
        return int(self.device.partition(":")[2])


def usable_cores() -> int:
    """CPU cores that this process may use (affinity respected)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def leave_gpu(launch: Launch, why: str) -> Launch:
    """The CPU instead of a GPU that cannot do what the options ask for; an error where the GPU was asked for by name."""
    if not launch.automatic:
        raise DeviceError(f"device: found {launch.device}, expected cpu or auto: {why}")
    return Launch("cpu", launch.threads, [f"device: the CPU, although a GPU answers: {why}"])


def find_gpus() -> tuple[list[str], str]:
    """Names of the GPUs that can be used here, and the reason where there are none."""
    from numba import config

    from ivimsc.device.driver import find_gpus as ask

    return (["Numba's CUDA simulator"], "") if config.ENABLE_CUDASIM else ask()


def parse_device(device: str) -> tuple[str, int]:
    """Kind of a device as users name it, auto, cpu or cuda, and the number of the GPU."""
    wanted = re.fullmatch(r"(auto|cpu|cuda)(?::(\d+))?", device)
    if wanted is None or (wanted[2] and wanted[1] != "cuda"):
        raise DeviceError(f"device: found {device!r}, expected auto, cpu or cuda (cuda:1 for the second GPU)")
    return wanted[1], int(wanted[2] or 0)


def choose_device(
    device: str = "auto", threads: int | None = None, task: str | None = None, on_cuda: bool = True
) -> Launch:
    """Decide where to run; a device that is asked for and missing is an error, never a silent fallback.

    Parameters
    ----------
    device : "cpu"; "cuda" or "cuda:N", the N-th GPU from 0; "auto": a GPU where one answers, which the notes then say
    threads : CPU threads; default: all cores
    task : what is to run, for messages: the name of a method, say; without it "auto" means the CPU
    on_cuda : whether the task has CUDA kernels

    Raises
    ------
    DeviceError
        for a GPU that is not there, with the reason; for a task without CUDA kernels; for unknown names
    InputError
        for a number of threads that is not in 1 .. usable cores
    """
    kind, index = parse_device(device)
    cores = usable_cores()
    if threads is None:
        threads = cores
    if not 1 <= threads <= cores:
        raise InputError(f"threads: found {threads}, expected 1 to {cores} (the cores of this machine)")
    if kind == "cuda":
        names, reason = find_gpus()
        _check_gpu(device, index, names, reason)
        if task is not None and not on_cuda:
            raise DeviceError(f"device: found {device!r}, expected cpu or auto: {task} has no CUDA kernels")
        return Launch(f"cuda:{index}", threads, [f"device: cuda:{index} ({names[index]})"])
    names = find_gpus()[0] if kind == "auto" and task is not None else []
    if names and on_cuda:
        notes = [f"device: cuda:0 ({names[0]}), because it answers; device='cpu' for the CPU"]
        return Launch("cuda:0", threads, notes, automatic=True)
    if names:
        why = f"device: the CPU, although a GPU answers ({names[0]}): {task} has no CUDA kernels"
        return Launch("cpu", threads, [why])
    return Launch("cpu", threads)


def _check_gpu(device: str, index: int, names: list[str], reason: str) -> None:
    if not names:
        raise DeviceError(f"device: found {device!r}, expected a device that is there: {reason}")
    if index >= len(names):
        listed = ", ".join(f"cuda:{k} ({name})" for k, name in enumerate(names))
        raise DeviceError(f"device: found {device!r}, expected {listed}")


def is_on_gpu(array: object) -> bool:
    """Whether an array is in a GPU's memory (numba's own arrays, in its simulator too, have the second attribute)."""
    return hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__")


def empty_beside(launch: Launch, array: Any, shape: tuple[int, ...], dtype: type) -> Any:
    """An empty array where `array` is: in host memory, or on the GPU of `launch`."""
    if not is_on_gpu(array):
        return np.empty(shape, dtype)
    from numba import cuda

    with cuda.gpus[launch.gpu]:
        return cuda.device_array(shape, dtype)


def on_host(array: Any) -> np.ndarray:
    """An array in host memory: itself, or a copy of one on a GPU."""
    return array.copy_to_host() if is_on_gpu(array) else array


def beside(array: Any, values: np.ndarray, launch: Launch) -> Any:
    """`values` where `array` is: as they are in host memory, or copied to the GPU of `launch`."""
    if not is_on_gpu(array):
        return values
    from numba import cuda

    with cuda.gpus[launch.gpu]:
        return cuda.to_device(np.ascontiguousarray(values))


def run_blocks(launch: Launch, kernel: Callable, n: int, *arguments: object, block: int = BLOCK) -> None:
    """Call ``kernel(start, stop, *arguments)`` over 0..n in blocks, on `launch.threads` threads."""
    starts = range(0, n, block)
    if launch.threads == 1 or len(starts) <= 1:
        for start in starts:
            kernel(start, min(start + block, n), *arguments)
        return
    with ThreadPoolExecutor(launch.threads) as pool:
        jobs = [pool.submit(kernel, start, min(start + block, n), *arguments) for start in starts]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
