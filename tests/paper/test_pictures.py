"""Figure 3: the numbers of one scan."""

import numpy as np
import pytest

from ivimsc.paper.pictures import Scan, _cases
from ivimsc.paper.printed import FIG3_R2


def test_errors_of_a_scan_leave_voxels_without_a_number_out():
    random = np.random.default_rng(0)
    truth = random.normal(size=(80, 3)) * (0.1, 0.3, 15)
    found = truth + random.normal(size=(80, 3)) * (0.02, 0.1, 9)
    found[5, 2] = np.nan
    scan = Scan("week 20", np.zeros((80, 3), np.int32), (4, 5, 4), 1.0, truth, {("SCDNN", "noisy"): found})
    rows = _cases(scan, "SCDNN", "noisy")
    assert [row.parameter for row in rows] == ["f", "D", "D*"] and [row.voxels for row in rows] == [80, 80, 79]
    for p, row in enumerate(rows):
        there = np.isfinite(found[:, p])
        square = np.mean((found[there, p] - truth[there, p]) ** 2)
        assert row.mse == pytest.approx(square, rel=1e-12)
        assert row.r2 == pytest.approx(1 - square / truth[there, p].var(), rel=1e-12)
        assert row.printed == FIG3_R2[p]
