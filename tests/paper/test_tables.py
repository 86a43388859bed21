"""The rows that stand beside the methods: the constant guess, the perfect network and the bound."""

from types import SimpleNamespace

import numpy as np
import pytest

from ivimsc.paper import tables
from ivimsc.paper.scores import Bounds
from ivimsc.paper.setting import KEYS, SYMBOLS

N = 300


@pytest.fixture
def lines(monkeypatch):
    """Table 1 of made-up scans without any method: its lines by row, test and parameter, and what they come from."""
    random = np.random.default_rng(0)
    truths = {"cohort-train": random.normal((0.3, 1.6, 45), (0.1, 0.2, 15), (200, 3))}
    truths["cohort-test"] = random.normal((0.2, 1.2, 60), (0.1, 0.2, 15), (N, 3))
    made = {}
    for clean in (False, True):
        products = random.exponential(size=(80, 3)) * (0.002, 0.04, 200) * (0.1 if clean else 1)
        made[clean] = Bounds(random.integers(0, N, 80), products, products * random.uniform(1, 1.4, (80, 3)), 100.0)
    runs = SimpleNamespace(
        truth=truths.get, bounds=lambda _, clean, *__: made[clean], setting=SimpleNamespace(full=True, scale=1, seeds=1)
    )
    monkeypatch.setattr(tables, "rivals", list)
    monkeypatch.setattr(tables, "command", lambda *_: "")
    found = tables.table1(runs).lines
    return {(line.row, line.test, line.parameter): line for line in found}, truths, made


@pytest.mark.parametrize(("test", "clean"), [("noisy", False), ("noise-free", True)])
def test_each_row_is_what_it_says(lines, test, clean):
    rows, truths, made = lines
    truth, bounds = truths["cohort-test"], made[clean]
    square = (truths["cohort-train"].mean(axis=0) - truth) ** 2  # the guess knows nothing of the test scans
    for p, key in enumerate(KEYS):
        guess, taught, best = (rows[row, test, SYMBOLS[key]] for row in (tables.GUESS, tables.TAUGHT, tables.BOUND))
        product = bounds.products[:, p].mean()
        assert guess.mse == pytest.approx(square[:, p].mean(), rel=1e-12)
        assert guess.ratio == pytest.approx(square[bounds.tested, p].mean() / product, rel=1e-12)
        assert taught.mse == pytest.approx(bounds.trained[:, p].mean(), rel=1e-12)
        assert taught.ratio == pytest.approx(bounds.trained[:, p].mean() / product, rel=1e-12)
        assert best.mse == pytest.approx(product, rel=1e-12) and best.ratio == 1
        assert best.r2 == pytest.approx(1 - product / truth[:, p].var(), rel=1e-12)
