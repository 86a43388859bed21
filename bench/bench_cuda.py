"""How fast are the CUDA kernels: alone, end to end beside the time of the copies, and beside the CPU on the same voxels?

Kernels are timed by CUDA events on arrays that are on the card already; end to end is from host arrays to host arrays. The
copy time is that of the same bytes, in and out, through pinned memory, measured in the same run; the arithmetic ceiling is
that of a kernel of nothing but multiply-adds (FMA). Skips without a GPU.
"""

import time
from functools import partial

import numpy as np
import pytest
from numba import cuda

import ivimsc
from ivimsc.device.launch import choose_device, find_gpus, run_blocks, usable_cores
from ivimsc.methods.scdnn.units import Weights, blocks_of, forward
from ivimsc.simulate import simulate_phantom
from tests.conftest import TEN, as_voxels, prepare_method

GPUS, REASON = find_gpus()
pytestmark = pytest.mark.skipif(not GPUS or "simulator" in GPUS[0], reason=f"no GPU: {REASON or 'the simulator has no speed'}")  # fmt: skip
SIZES = [10**4, 10**5, 10**6, 10**7, 10**8]
# method: options, most voxels on the card and on the CPU
METHODS = {
    "segmented": ({}, 10**8, 10**6),
    "nlls": ({}, 10**8, 10**6),
    "scdnn": ({"snr": 30.0}, 10**8, 10**6),
    "ista": ({}, 10**7, 10**5),
    "bayes": ({"sigma": 1 / 30}, 10**6, 2 * 10**4),
}
MOST_ON_CPU = 10**6
NAME = "".join(c if c.isalnum() else "_" for c in GPUS[0]).lower() if GPUS else "none"
CHAINS, LENGTH = 8, 2**14  # independent multiply-adds per thread of the ceiling's kernel, and how many of each


@pytest.fixture(scope="module")
def copies():
    """Bytes per second to the card and back, through pinned memory, one way at a time."""
    pinned, device = cuda.pinned_array(2**28, np.uint8), cuda.device_array(2**28, np.uint8)
    pinned[:] = 1
    rates = []
    for copy in (lambda: device.copy_to_device(pinned), lambda: device.copy_to_host(pinned)):
        rates.append(len(pinned) / best_seconds(copy))
    return rates


def best_seconds(call, rounds=5):
    """Best time of a call, by CUDA events."""
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


@pytest.fixture(scope="module")
def multiply_adds():
    """Multiply-adds (FMA) per second that the card reaches in a kernel of nothing else."""
    kind = np.float32

    @cuda.jit
    def kernel(factor, result):
        chains = cuda.local.array(CHAINS, kind)
        for k in range(CHAINS):
            chains[k] = kind(k)
        for _ in range(LENGTH):
            for k in range(CHAINS):
                chains[k] = chains[k] * factor + factor
        total = kind(0)
        for k in range(CHAINS):
            total += chains[k]
        result[cuda.grid(1)] = total

    blocks, threads = 32 * cuda.get_current_device().MULTIPROCESSOR_COUNT, 256
    result = cuda.device_array(blocks * threads, kind)
    return blocks * threads * CHAINS * LENGTH / best_seconds(lambda: kernel[blocks, threads](kind(0.5), result))


def bytes_of(estimates):
    """Bytes of all that a fit gives."""
    return sum(array.nbytes for _, array in estimates.items()) + sum(a.nbytes for a in estimates.spectrum or ())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", SIZES)
def bench_fits(method, n, copies, multiply_adds, record):
    settings, most, most_on_cpu = METHODS[method]
    if n > most:
        pytest.skip(f"{method} up to {most} voxels")
    signals = signals_of(n)
    fitter = prepare_method(method, as_voxels(signals[:1], TEN), choose_device("cuda", task=method), **settings)
    device = cuda.to_device(signals)
    kernels = best_seconds(partial(fitter.fit, device))
    del device
    back = bytes_of(fitter.fit(signals))
    whole = wall_seconds(lambda: fitter.fit(signals))
    copied = signals.nbytes / copies[0] + back / copies[1]
    few = signals[:most_on_cpu]
    cpu = wall_seconds(lambda: ivimsc.fit_signals(few, TEN, method, **settings)) / len(few)
    record(
        f"cuda/{NAME}_fits", f"Fits on {GPUS[0]}, ten b-values, SNR 30", method=method, voxels=n,
        **{
            "kernels [voxels/s]": n / kernels, "end to end [voxels/s]": n / whole, "copies [s]": copied,
            "end to end / copies": whole / copied, "to card [GB/s]": copies[0] * 1e-9, "back [GB/s]": copies[1] * 1e-9,
            "FMA [1/s]": multiply_adds, "time per voxel in FMA": multiply_adds * kernels / n,
            f"CPU, {usable_cores()} cores [voxels/s]": 1 / cpu, "kernels / CPU": n / kernels * cpu,
        },
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
def bench_simulate(n, copies, record):
    from ivimsc.device.streaming import THREADS, grid
    from ivimsc.simulate.on_gpu import acquire_kernel
    from ivimsc.simulate.phantom import make_acquisition, simulate_block

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
    acquisition = make_acquisition(TEN, 30.0, 1, "rician")
    cpu = wall_seconds(lambda: simulate_block(block, 0, acquisition, choose_device("cpu"))) / few
    record(
        f"cuda/{NAME}_simulate", f"Simulation on {GPUS[0]}, ten b-values, Rician", voxels=n,
        **{
            "kernel [voxels/s]": n / kernel, "memory [GB/s]": moved / kernel * 1e-9, "of what a copy moves": moved / kernel / memory,
            "CPU [voxels/s]": 1 / cpu,
        },
    )  # fmt: skip


@pytest.mark.parametrize("n", SIZES[:4])
def bench_units(n, multiply_adds, record):
    """The network of the paper's size, 600 atoms, 8 units, ten inputs; its time does not depend on the weights."""
    from ivimsc.methods.scdnn.on_gpu.around_units import Base, Reach
    from ivimsc.methods.scdnn.on_gpu.fit import GpuNetwork

    random, (units, n_b, atoms) = np.random.default_rng(0), (8, 10, 600)
    y = random.random((n, n_b), dtype=np.float32)
    w, phi = random.normal(0, 0.02, (2, units, n_b, atoms)).astype(np.float32)
    cuts, atom = np.full((units, atoms), 0.01, np.float32), np.linspace(0.1, 100, atoms, dtype=np.float32)
    weights = Weights(w, phi, cuts, atom, atoms // 2, False, False)
    stacked = weights._replace(w=w[None], phi=phi[None], thresholds=cuts[None])
    ends = (np.full(n_b, end, np.float32) for end in (-np.inf, np.inf))
    reach = Reach((TEN * 1e-3).astype(np.float32), *ends)
    network = GpuNetwork(choose_device("cuda", task="scdnn"), stacked, reach, Base(np.arange(n_b), -1, np.float32(1.0)))
    device = cuda.to_device(y), cuda.device_array((5, n), np.float32), cuda.device_array(n, np.uint8)
    kernels = best_seconds(lambda: network.run(*device))
    few = min(n, MOST_ON_CPU)
    blocks, part, cpu, sums = blocks_of(few), y[:few], choose_device("cpu"), np.empty((few, 4), np.float32)
    none = np.empty((0, atoms), np.float32)
    one = wall_seconds(lambda: run_blocks(cpu, forward, blocks, part, weights, sums, none, block=32)) / few  # fmt: skip
    useful = (2 * units - 1) * n_b * atoms  # multiply-adds per voxel
    record(
        f"cuda/{NAME}_units", f"Units of scdnn on {GPUS[0]}, N = 600, T = 8, ten inputs", voxels=n,
        **{
            "kernels [voxels/s]": n / kernels, "of the FMA ceiling": n * useful / kernels / multiply_adds,
            f"CPU, {usable_cores()} cores [voxels/s]": 1 / one, "ratio": n / kernels * one,
        },
    )  # fmt: skip
