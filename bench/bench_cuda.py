"""How fast are the CUDA kernels: alone, end to end beside the time of the copies, and beside the CPU on the same voxels?

Kernels are timed by CUDA events on arrays that are on the card already; end to end is from host arrays to host arrays. The
copy time is that of the same bytes, in and out, through pinned memory, measured in the same run. Skips without a GPU.
"""

import time
from functools import partial

import numpy as np
import pytest

import ivimsc
from ivimsc.kernels.launch import choose_device, find_gpus
from ivimsc.methods import load_method, make_options
from ivimsc.simulate import _simulate, simulate_phantom
from tests.conftest import TEN, as_voxels

GPUS, REASON = find_gpus()
pytestmark = pytest.mark.skipif(not GPUS or "simulator" in GPUS[0], reason=f"no GPU: {REASON or 'the simulator has no speed'}")  # fmt: skip
SIZES = [10**4, 10**5, 10**6, 10**7, 10**8]
MOST_ON_CPU = 10**6
NAME = "".join(c if c.isalnum() else "_" for c in GPUS[0]).lower() if GPUS else "none"
RESULT_BYTES = 33  # eight float32 and an outcome


@pytest.fixture(scope="module")
def copies():
    """Bytes per second to the card and back, through pinned memory, one way at a time."""
    from numba import cuda

    pinned, device = cuda.pinned_array(2**28, np.uint8), cuda.device_array(2**28, np.uint8)
    pinned[:] = 1
    rates = []
    for copy in (lambda: device.copy_to_device(pinned), lambda: device.copy_to_host(pinned)):
        rates.append(len(pinned) / best_seconds(copy))
    return rates


def best_seconds(call, rounds=5):
    """Best time of a call, by CUDA events."""
    from numba import cuda

    call()
    times = []
    for _ in range(rounds):
        begin, end = cuda.event(), cuda.event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(cuda.event_elapsed_time(begin, end) * 1e-3)
    return min(times)


def wall_seconds(call, rounds=3):
    call()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return min(times)


def signals_of(n):
    """n voxels of the uniform phantom at SNR 30: at most 10 million different ones."""
    few = min(n, 10**7)
    some = simulate_phantom("uniform", TEN, voxels=few, launch=choose_device("cuda", task="simulate")).signals
    return some if n == few else np.tile(some, (n // few, 1))


@pytest.mark.parametrize("method", ["segmented", "nlls"])
@pytest.mark.parametrize("n", SIZES)
def bench_fits(method, n, copies, record):
    from numba import cuda

    signals, module = signals_of(n), load_method(method)
    options = make_options(module, {})
    fitter = module.prepare(as_voxels(signals[:1], TEN), options, choose_device("cuda", task=method))
    kernels = best_seconds(partial(fitter.fit, cuda.to_device(signals)))
    whole = wall_seconds(lambda: fitter.fit(signals))
    copied = signals.nbytes / copies[0] + n * RESULT_BYTES / copies[1]
    few = signals[:MOST_ON_CPU]
    cpu = wall_seconds(lambda: ivimsc.fit_signals(few, TEN, method)) / len(few)
    record(
        f"cuda/{NAME}_fits", f"Fits on {GPUS[0]}, ten b-values, SNR 30", method=method, voxels=n,
        **{
            "kernels [voxels/s]": n / kernels, "end to end [voxels/s]": n / whole, "copies [s]": copied,
            "end to end / copies": whole / copied, "to card [GB/s]": copies[0] * 1e-9, "back [GB/s]": copies[1] * 1e-9,
            "CPU [voxels/s]": 1 / cpu, "kernels / CPU": n / kernels * cpu,
        },
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
def bench_simulate(n, copies, record):
    from numba import cuda

    from ivimsc.kernels.cuda.simulating import acquire_kernel
    from ivimsc.kernels.cuda.streaming import THREADS, grid

    random = np.random.default_rng(0)
    ranges = ((1, 1), (0.05, 0.5), (0.5e-3, 2.5e-3), (10e-3, 100e-3))
    truth = [cuda.to_device(random.uniform(*r, n).astype(np.float32)) for r in ranges]
    b, signals = cuda.to_device(TEN), cuda.device_array((n, len(TEN)), np.float32)
    blocks = grid(n * len(TEN), THREADS)
    kernel = best_seconds(lambda: acquire_kernel[blocks, THREADS](0, n, 0, *truth, b, 1 / 30, 0, 1, signals))
    source, target = cuda.device_array(2**28, np.uint8), cuda.device_array(2**28, np.uint8)
    memory = 2 * source.size / best_seconds(lambda: target.copy_to_device(source))
    moved = n * 4 * (len(TEN) + 4)
    few = min(n, MOST_ON_CPU)
    block = type("Block", (), {})()
    block.truth = dict(zip(("s0", "f", "d", "dstar"), (t[:few].copy_to_host() for t in truth)))
    block.tissue = np.zeros(few, np.uint8)
    cpu = wall_seconds(lambda: _simulate(block, 0, TEN, 1 / 30, "rician", 1, choose_device("cpu"))) / few
    record(
        f"cuda/{NAME}_simulate", f"Simulation on {GPUS[0]}, ten b-values, Rician", voxels=n,
        **{
            "kernel [voxels/s]": n / kernel, "memory [GB/s]": moved / kernel * 1e-9, "of what a copy moves": moved / kernel / memory,
            "CPU [voxels/s]": 1 / cpu,
        },
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES[:4])
def bench_units(n, record):
    """The network of scdnn: 600 atoms, 8 units, ten inputs; its time does not depend on the weights."""
    from numba import cuda

    from ivimsc.kernels.cuda.unrolled import run_units
    from ivimsc.kernels.launch import run_blocks, usable_cores
    from ivimsc.kernels.unrolled import WIDTH, forward

    random = np.random.default_rng(0)
    y, none = random.random((n, 10), dtype=np.float32), np.empty((0, 600), np.float32)
    w, phi = random.normal(0, 0.02, (2, 8, 10, 600)).astype(np.float32)
    weights = w, phi, np.full((8, 600), 0.01, np.float32), np.linspace(0.1, 100, 600, dtype=np.float32)
    sums, launch, few = np.empty((n, 4), np.float32), choose_device("cuda", task="scdnn"), min(n, MOST_ON_CPU)
    whole = wall_seconds(lambda: run_units(launch, y, *weights, 300, False, False, sums, none))
    blocks, part, cpu = -(-few // WIDTH), y[:few], choose_device("cpu")
    one = wall_seconds(lambda: run_blocks(cpu, forward, blocks, part, *weights, 300, False, False, sums[:few], none, block=32)) / few  # fmt: skip
    cuda.synchronize()
    record(
        f"cuda/{NAME}_units", f"Units of scdnn on {GPUS[0]}, N = 600, T = 8, ten inputs", voxels=n,
        **{"end to end [voxels/s]": n / whole, f"CPU, {usable_cores()} cores [voxels/s]": 1 / one, "ratio": n / whole * one},
    )  # fmt: skip
