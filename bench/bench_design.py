"""Are designed protocols better? Errors of bayes on simulated voxels at equal scan time, and the paper's sets of b-values.

Run ``python -m pytest bench/bench_design.py``; it writes bench/results/design.md (three tissues, simulated and fitted by bayes),
design_table3.md (the paper's seven sets, and the best sets of five) and design_time.md. One question alone: ``::bench_tissue``,
``::bench_table3``, ``::bench_time``.
"""

import time
from itertools import combinations

import numpy as np
import pytest

import ivimsc
from ivimsc.device.launch import choose_device
from ivimsc.paper.setting import PROTOCOLS
from ivimsc.phantoms.literature import Tissue
from ivimsc.planning import design
from ivimsc.planning.judge import judge, sigma_of
from ivimsc.planning.posterior import PosteriorError
from ivimsc.planning.prior import draws_of
from ivimsc.planning.request import Request
from ivimsc.planning.usual import Protocol
from ivimsc.simulate import DEFAULT_BVALUES

TISSUES = ("liver", "kidney cortex", "placenta core")
NAMES, SCALES = ("f", "D", "D*"), np.array([1, 1e3, 1e3])
VOXELS, SEEDS = 15_000, range(1)
# Pooled over the scans, as docs/paper.md has it: D* log-normal about 45 µm²/ms with a log-SD of 0.35
COHORT = Tissue("cohort", (1, 0.01), (0.30, 0.10), (1.6e-3, 0.25e-3), (47.8e-3, 17.3e-3))
LAUNCH = choose_device()
EVERY = False  # the paper's ten and five alone of the usual protocols, and the best by the bound; True: all


def fitted(made, protocol, tissue, seed):
    """Mean squared errors (3,) of bayes [1, (µm²/ms)²] on voxels of a tissue with Rician noise, at the design's scan time."""
    theta = draws_of(tissue, VOXELS, 10_000 + seed)
    b, sigma = np.array(protocol.images), sigma_of(made.request, protocol.images)
    random = np.random.Generator(np.random.Philox(10_000 + seed))
    clean = ivimsc.simulate_signals(1.0, *theta, b)
    noise = sigma * random.standard_normal((2, *clean.shape))
    signals = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
    found = ivimsc.fit_signals(signals, b, method="bayes")
    return np.mean((np.stack([found.f, found.D, found.Dstar]) - theta) ** 2, axis=1) * SCALES**2


@pytest.mark.parametrize("name", TISSUES)
def bench_tissue(name, record):
    """Every protocol's images have the noise that gives all the same scan time; the errors are those of bayes, as installed."""
    made = design(name, snr=30, volumes=16, bmax=800)
    tissue = made.request.tissues[0]
    shown = made.protocols if EVERY else made.protocols[:4]
    errors = {p.name: np.mean([fitted(made, p, tissue, seed) for seed in SEEDS], axis=0) for p in shown}
    sd = np.array([row.prior for row in made.rows[:3]])
    ours = errors[made.protocols[0].name]
    for protocol in shown:
        mse = errors[protocol.name]
        least = [row.rmse for row in made.rows if row.protocol == protocol.name]
        b, n = np.unique(protocol.images, return_counts=True)
        words = " ".join(f"{x:.4g}" + (f"×{k}" if k > 1 else "") for x, k in zip(b, n, strict=True))
        record(
            "design", "bayes on simulated voxels, 16 images' scan time, SNR 30: RMSE, and mean share of the prior's variance that is left",
            tissue=name, protocol=protocol.name, **{"b [s/mm²]": words if len(b) < 14 else f"{len(b)} from 0 to {b[-1]:g}"},
            **dict(zip(NAMES, map(float, np.sqrt(mse)), strict=True)),
            **{"smallest possible": " ".join(f"{x:.3g}" for x in least), "share left": float(np.mean(mse / sd**2)),
               "over the design's": float(np.mean(mse / sd**2) / np.mean(ours / sd**2))},
        )  # fmt: skip


def bench_table3(record):
    """The smallest possible errors of the cohort at SNR 30, S0 known, one image for each b-value, as in the paper's Table 3."""

    def row(name, images, kind):
        request = Request(COHORT, snr=30, volumes=len(images), bmax=800, s0_known=True)
        found = judge(request, [Protocol(name, "", tuple(map(float, images)))], LAUNCH)
        left = np.mean([(r.rmse / r.prior) ** 2 for r in found])
        record("design_table3", "The paper's sets of b-values (Table 3), and the best sets of five: smallest possible RMSE, cohort, SNR 30, S0 = 1 known",
               set=kind, **{"b [s/mm²]": " ".join(f"{b:g}" for b in images)}, **{r.parameter: r.rmse for r in found},
               **{"share of the variance left": float(left)})  # fmt: skip

    for images in PROTOCOLS:
        row("paper", images, "paper")
    request = Request(COHORT, snr=30, volumes=5, bmax=500, s0_known=True, among=DEFAULT_BVALUES)
    error = PosteriorError(request, request.candidates, LAUNCH)
    every = np.array([np.isin(np.arange(10), chosen) for chosen in combinations(range(10), 5)], float)
    row(
        "best",
        request.candidates[every[np.argmin(error.values(every))] > 0],
        "best five distinct of the paper's ten, of all 252",
    )
    for kind, settings in (
        ("five images, the design, b to 500", {"bmax": 500}),
        ("five images, the design, b to 800", {"bmax": 800}),
    ):
        row("design", design(COHORT, snr=30, volumes=5, s0_known=True, distinct=3, **settings).images, kind)


@pytest.mark.parametrize("asked", ["liver", "liver,kidney cortex", "placenta core,placenta rim,myometrium"])
def bench_time(asked, record):
    """The whole of a design, files left out, after a first one that compiles."""
    design("liver", volumes=4, step=200)
    for volumes, step in ((8, 10), (16, 10), (32, 10), (16, 1)):
        begin = time.process_time()
        made = design(asked, volumes=volumes, step=step)
        record("design_time", "CPU time of a design, of all cores together", tissue=asked, images=volumes, **{"step [s/mm²]": step},
               **{"CPU time [s]": time.process_time() - begin, "share left": made.value})  # fmt: skip
