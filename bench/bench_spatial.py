"""What neighbours are worth: bayes with the spatial prior beside the voxelwise one, and beside what people do today.

Today signals are smoothed, by a 3 × 3 median filter or a Gaussian in the plane, and fitted by nlls. Run
``python -m pytest bench/bench_spatial.py``; it writes bench/results/spatial.md (phantoms of tissues), spatial_fractal.md, spatial_lesion.md
and spatial_speed.md. One question alone: ``::bench_phantom``, ``::bench_shuffled``, ``::bench_fractal``, ``::bench_lesion``, ``::bench_speed``.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import ivimsc
from ivimsc.compare.bound import smallest_error
from ivimsc.compare.regions import EDGES, hard_parts
from ivimsc.device.launch import choose_device
from ivimsc.fit.prepare import prepare
from ivimsc.methods import find_method
from ivimsc.simulate import simulate_phantom
from ivimsc.voxels import Geometry, Voxels

SHAPES = {"placenta": (48, 48, 12), "abdomen": (44, 40, 10), "brain": (36, 44, 12)}
KEYS, NAMES, SCALES = ("f", "d", "dstar"), ("f", "D", "D*"), (1, 1e3, 1e3)
WIDTH = 1.0  # voxels: SD of the Gaussian filter, about the width at which neighbours count in these phantoms
FRACTAL_B = [0, 10, 20, 40, 80, 110, 140, 170, 200, *range(300, 1000, 100)]
LAUNCH = choose_device()


def fit(voxels, method="bayes", **options):
    """Estimates (voxel, 3) of f, D, D*, their SDs (None where there are none), and what the method says."""
    ready = prepare(find_method(method), options, voxels, LAUNCH)
    found = ready.fit(voxels.signals)
    sd = None if found.fstd is None else np.stack([found.fstd, found.dstd, found.dstarstd], 1)
    return np.stack([found.f, found.D, found.Dstar], 1), sd, ready.notes


def smoothed(voxels, how):
    """The same voxels, each signal smoothed within its slice over the voxels that are there."""
    places, shape = tuple(voxels.index.T), voxels.geometry.shape
    there = np.zeros(shape, np.float32)
    there[places] = 1
    signals = np.empty_like(voxels.signals)
    for k in range(signals.shape[1]):
        volume = np.zeros(shape, np.float32)
        volume[places] = voxels.signals[:, k]
        if how == "median":
            volume[there == 0] = np.nan
            windows = [np.roll(volume, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
            signals[:, k] = np.nanmedian([w[places] for w in windows], axis=0)
        else:
            width = (WIDTH, WIDTH, 0)
            signals[:, k] = (gaussian_filter(volume, width) / np.maximum(gaussian_filter(there, width), 1e-6))[places]
    return replace(voxels, signals=signals)


def rivals(voxels):
    """Name -> estimates, SDs."""
    return {
        "bayes, spatial": fit(voxels, prior="spatial")[:2],
        "bayes, voxelwise": fit(voxels)[:2],
        "nlls": fit(voxels, "nlls")[:2],
        "nlls after a 3 × 3 median": (fit(smoothed(voxels, "median"), "nlls")[0], None),
        "nlls after a Gaussian": (fit(smoothed(voxels, "gaussian"), "nlls")[0], None),
    }


def truth_of(voxels):
    return np.stack([voxels.truth[key] for key in KEYS], 1)


def held(errors, sd):
    """Share (3,) of 95 % intervals that hold the truth, in words."""
    return "" if sd is None else " ".join(f"{x:.3f}" for x in np.mean(np.abs(errors) < 1.96 * sd, axis=0))


@pytest.mark.parametrize("snr", [30, 15])
@pytest.mark.parametrize("name", SHAPES)
def bench_phantom(name, snr, record):
    """Mean squared errors over the smallest possible voxelwise one; at edges, over the voxelwise bayes there."""
    voxels = simulate_phantom(name, snr=snr, seed=11, shape=SHAPES[name])
    bound = smallest_error(voxels.signals, voxels.truth, voxels.bvalues, 1 / snr, True, False, LAUNCH, 11)
    edge = hard_parts(voxels.index, voxels.geometry.shape, voxels.tissue)[EDGES]
    true, found = truth_of(voxels), rivals(voxels)
    single = np.mean((found["bayes, voxelwise"][0] - true)[edge] ** 2, axis=0)
    for method, (values, sd) in found.items():
        errors = values - true
        ratios = np.nanmean(errors[bound.tested] ** 2, axis=0) / bound.mean("noisy")[0]
        at_edges = np.nanmean(errors[edge] ** 2, axis=0) / single
        record(
            "spatial", "Mean squared errors over the smallest possible voxelwise one of the whole volume; at edges, over voxelwise bayes",
            phantom=name, SNR=snr, method=method, **dict(zip(NAMES, map(float, ratios), strict=True)),
            **{"at edges: f, D, D*": " ".join(f"{x:.2f}" for x in at_edges), "95 % intervals hold": held(errors, sd),
               "at edges": held(errors[edge], None if sd is None else sd[edge])},
        )  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def bench_shuffled(name, record):
    """The voxels of a phantom in random places: a spatial prior must find that there is nothing."""
    voxels = simulate_phantom(name, snr=30, seed=11, shape=SHAPES[name])
    order = np.random.default_rng(0).permutation(len(voxels))
    truth = {key: values[order] for key, values in voxels.truth.items()}
    voxels = replace(voxels, signals=np.ascontiguousarray(voxels.signals[order]), truth=truth)
    true, (spatial, _, notes), single = truth_of(voxels), fit(voxels, prior="spatial"), fit(voxels)[0]
    ratios = np.mean((spatial - true) ** 2, axis=0) / np.mean((single - true) ** 2, axis=0)
    said = next(note for note in notes if note.startswith("spatial prior"))
    record("spatial_shuffled", "Voxels shuffled in space: mean squared errors over those of voxelwise bayes", phantom=name,
           **dict(zip(NAMES, map(float, ratios), strict=True)), said=said)  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def bench_fractal(seed, record):
    """Median absolute percentage errors; the published best of a network that looks at neighbours: f 5.91, D* 13.31."""
    voxels = simulate_phantom("fractal", FRACTAL_B, snr=100, seed=seed, noise="gaussian")
    voxels = replace(voxels, signals=np.abs(voxels.signals))
    true = truth_of(voxels)
    for method, (values, _) in rivals(voxels).items():
        percent = 100 * np.nanmedian(np.abs(values - true) / np.maximum(true, 1e-9), axis=0)
        record("spatial_fractal", "Fractal phantom, 128 × 128, noise SD 0.01: median absolute errors in per cent", seed=seed,
               method=method, **dict(zip(NAMES, map(float, percent), strict=True)))  # fmt: skip


def lesions(snr=50):
    """A background with lesions of 3 × 3 × 1 voxels and of one, f 0.10 -> 0.30 and D 1.5 -> 0.9 µm²/ms; where they are."""
    shape = (40, 40, 3)
    large, one = np.zeros(shape, bool), np.zeros(shape, bool)
    for i in range(4, 38, 9):
        for j in range(4, 38, 9):
            large[i - 1 : i + 2, j - 1 : j + 2, 1] = True
            one[min(i + 4, 39), min(j + 4, 39), 1] = True
    inside = large | one
    random = np.random.default_rng(1)
    f, D, Dstar = np.where(inside, 0.3, 0.1), np.where(inside, 0.9e-3, 1.5e-3), np.full(shape, 25e-3)
    f, D, Dstar = (a * np.exp(random.normal(0, s, shape)) for a, s in ((f, 0.1), (D, 0.04), (Dstar, 0.15)))
    b = [0, 10, 20, 50, 80, 100, 150, 200, 300, 500]
    clean = ivimsc.simulate_signals(np.ones(shape), f, D, Dstar, b)
    noise = random.normal(0, 1 / snr, (2, *clean.shape))
    signals = np.hypot(clean + noise[0], noise[1]).astype(np.float32).reshape(-1, len(b))
    index = np.argwhere(np.ones(shape, bool)).astype(np.int32)
    geometry = Geometry(shape, np.eye(4), zooms=(2.0, 2.0, 5.0))
    truth = {"s0": np.ones(f.size), "f": f.ravel(), "d": D.ravel(), "dstar": Dstar.ravel()}
    return Voxels(signals, np.array(b, float), index, geometry, truth=truth), large.ravel(), one.ravel()


def bench_lesion(record):
    """Contrast to the background that is left, of 16 lesions and 16 single voxels."""
    voxels, large, one = lesions()
    true, outside = truth_of(voxels), ~(large | one)
    for method, (values, _) in rivals(voxels).items():
        row = {}
        for size, inside in (("3 × 3", large), ("single", one)):
            for k, name in enumerate(NAMES[:2]):
                kept, whole = (np.mean(a[inside, k]) - np.mean(a[outside, k]) for a in (values, true))
                row[f"{name}, {size} [%]"] = float(100 * kept / whole)
        record(
            "spatial_lesion",
            "Contrast of lesions that is left: f 0.10 -> 0.30, D 1.5 -> 0.9 µm²/ms, SNR 50",
            method=method,
            **row,
        )


@pytest.mark.parametrize("side", [64, 128])
def bench_speed(side, record):
    """All sweeps and the last step; the population's search, which does not grow with the volume, apart."""
    voxels = simulate_phantom("abdomen", snr=30, seed=1, shape=(side, side, 10))
    for prior in ("population", "spatial"):
        fit(simulate_phantom("abdomen", snr=30, seed=1, shape=(24, 24, 4)), prior=prior)  # compiles
        begin = time.perf_counter()
        ready = prepare(find_method("bayes"), {"prior": prior}, voxels, LAUNCH)
        middle = time.perf_counter()
        ready.fit(voxels.signals)
        end = time.perf_counter()
        record("spatial_speed", "Speed of the whole fit, and of the last step alone", voxels=len(voxels), prior=prior,
               **{"prepare [s]": middle - begin, "last step [s]": end - middle, "voxels/s, all": len(voxels) / (end - begin)})  # fmt: skip
