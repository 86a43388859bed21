"""How does the speed of nlls and segmented go with voxels, b-values and threads, and how far is it from the machine?

The ceiling: the same count of float32 multiply-adds as nlls needs, run in the same lanes without anything else.

Run ``python -m pytest bench/bench_scaling.py``; it writes bench/results/scaling_*.md and ceiling.md. One question alone: ``-k
voxels``, ``-k bvalues``, ``-k threads`` or ``-k ceiling``.
"""

import time

import numpy as np
import pytest
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.device.launch import Launch, run_blocks, usable_cores
from ivimsc.numerics.lanes import LANES, exp32
from tests.conftest import TEN, phantom, run_method


def speed(method, signals, bvalues, threads, rounds=3):
    run_method(method, signals[:16], bvalues, threads)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run_method(method, signals, bvalues, threads)
        times.append(time.perf_counter() - start)
    return len(signals) / min(times)


def tiled(n, bvalues, snr=30):
    base = phantom(min(n, 100_000), bvalues, snr).signals
    return np.resize(base, (n, len(bvalues)))


@pytest.mark.parametrize("method", ["nlls", "segmented"])
@pytest.mark.parametrize("n", [1_000, 10_000, 100_000, 1_000_000, 10_000_000])
def bench_voxels(method, n, record):
    rate = speed(method, tiled(n, TEN), TEN, usable_cores(), 2 if n > 1e6 else 5)
    record(
        "scaling_voxels",
        "Voxels (ten b-values, SNR 30, all cores)",
        method=method,
        voxels=n,
        **{"voxels/s": float(rate)},
    )


@pytest.mark.parametrize("method", ["nlls", "segmented"])
@pytest.mark.parametrize("k", [5, 10, 20, 40, 60])
def bench_bvalues(method, k, record):
    bvalues = (
        np.r_[np.linspace(0, 200, k - k // 3), np.linspace(250, 800, k // 3)]
        if k > 5
        else np.array([20, 50, 150, 300, 500.0])
    )
    rate = speed(method, tiled(100_000, bvalues), bvalues, usable_cores())
    record("scaling_bvalues", "b-values (100,000 voxels, SNR 30, all cores)", method=method, **{"b-values": k, "voxels/s": float(rate), "ns per voxel and b": float(1e9 / rate / k)})  # fmt: skip


@pytest.mark.parametrize("method", ["nlls", "segmented"])
def bench_threads(method, record):
    signals = tiled(400_000, TEN)
    rates = [speed(method, signals, TEN, threads) for threads in range(1, usable_cores() + 1)]
    for threads, rate in enumerate(rates, 1):
        record("scaling_threads", "Threads (400,000 voxels, ten b-values)", method=method, threads=threads, **{"voxels/s": float(rate), "ratio": float(rate / rates[0])})  # fmt: skip


@njit(**LANE_JIT)
def _exponentials(start, stop, x, out):
    """32 exponentials per voxel, and nothing else: 16 float32 operations each."""
    t, y = np.zeros(8 * LANES, np.float32), np.linspace(0.0, 1.0, 8 * LANES).astype(np.float32)
    for _ in range(start, stop, 8 * LANES):
        for i in range(32):
            shift = x[i]
            for l in range(8 * LANES):
                t[l] += exp32(shift * y[l])
    out[0] = t[0]


@njit(**LANE_JIT)
def _multiply_adds(start, stop, x, out):
    """64 multiply-adds per voxel, 16 to a load and a store: close to the arithmetic peak of this compiler and machine."""
    a = np.zeros(8 * LANES, np.float32)
    c = x[0]
    for _ in range(start, stop, 8 * LANES):
        for i in range(4):
            d = x[i]
            for l in range(8 * LANES):
                p = a[l]
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                p = p * c + d
                a[l] = p
    out[0] = a[0]


def bench_ceiling(record):
    """nlls beside the arithmetic that it cannot do without (10 b-values, SNR 30).

    Counted by hand from the kernels, per voxel: table of starts 128 pairs × 27 + 32 columns × 10 b × 2 = 4,100;
    2.6 Newton evaluations × 10 b × (2 exponentials × 16 + 44) = 2,000, each + 130 of algebra = 340; standard errors in
    float64 (half the lanes, so × 2) 10 × (2 × 28 + 20) × 2 + 200 = 1,700. Together about 8,100 operations.
    """
    launch, block = Launch("cpu", usable_cores()), 2**19  # long calls: what is measured is arithmetic alone
    n, x, out = 2**25, np.full(32, -0.5, np.float32), np.zeros(1, np.float32)
    rates = {}
    for name, kernel, operations in (("multiply-adds", _multiply_adds, 128), ("exponentials", _exponentials, 32 * 16)):
        run_blocks(launch, kernel, 64, x, out)
        best = min(_timed(lambda kernel=kernel: run_blocks(launch, kernel, n, x, out, block=block)) for _ in range(3))
        rates[name] = n * operations / best / 1e9
        record("ceiling", "Distance from the machine's limit", what=f"{name} alone", **{"Gflop/s": float(rates[name])})
    fit = speed("nlls", tiled(400_000, TEN), TEN, usable_cores(), 5)
    record("ceiling", "Distance from the machine's limit", what="nlls, 8,100 operations per voxel (counted)",
           **{"Gflop/s": float(fit * 8100 / 1e9), "voxels/s": float(fit), "share of multiply-adds": float(fit * 8100 / 1e9 / rates["multiply-adds"]), "share of exponentials": float(fit * 8100 / 1e9 / rates["exponentials"])})  # fmt: skip


def _timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
