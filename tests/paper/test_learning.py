"""SCDNN against MLP: a paired ratio per fraction, over the seeds."""

import numpy as np

from ivimsc.paper import learning
from ivimsc.paper.scores import paired


def test_pairs_are_ratios_on_the_same_voxels_and_their_mean_over_the_seeds(monkeypatch):
    monkeypatch.setattr(learning, "FRACTIONS", (0.1,))
    random = np.random.default_rng(0)
    hard = random.exponential(size=(500, 3))
    squares = {
        (name, 0.1, seed): hard * random.uniform(0.9, 1.1, (500, 3)) * (0.8 if name == "SCDNN" else 1)
        for name in learning.PAIR for seed in (0, 1)
    }  # fmt: skip
    found = [paired(squares["SCDNN", 0.1, seed], squares["MLP", 0.1, seed]) for seed in (0, 1)]
    ratio = np.mean([r for r, _ in found], axis=0)
    error = np.sqrt(np.mean([e**2 for _, e in found], axis=0) / 2)
    error = np.maximum(error, np.std([r for r, _ in found], axis=0, ddof=1) / np.sqrt(2))
    row = learning._pairs(squares, 2).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    assert cells == ["10 %", *(f"{r:.4f} ± {e:.4f}" for r, e in zip(ratio, error, strict=True))]
