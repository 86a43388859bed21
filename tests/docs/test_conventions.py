"""docs/units.md: what D* means elsewhere, against signals written out here, and against dipy where it is installed."""

import numpy as np
import pytest

import ivimsc
from ivimsc.physics.parameters import PARAMETERS
from tests.conftest import TEN, equation1
from tests.docs.test_examples import DOCS

PAGE = (DOCS / "units.md").read_text(encoding="utf-8")
B_BLOOD = 1.75e-3  # mm²/s, Ahlgren et al., NMR Biomed. (2016), the constant of ivim-mri 1.0


def test_the_table_of_units_is_that_of_the_code():
    for p in PARAMETERS:
        row = next(line for line in PAGE.splitlines() if f"| `{p.code}` |" in line)
        assert f"| `{p.key}` |" in row
        if p.unit.startswith("mm"):
            assert f"| {p.unit} | {p.display_unit} " in row and f"{p.lower:g} to {p.upper:g} {p.unit}" in row


@pytest.mark.parametrize(("rate", "add"), [
    (lambda D, p: p, lambda D: 0.0),  # dipy, OSIPI, IVIM-NET
    (lambda D, p: D + p, lambda D: D),  # MITK, IVIM_tools
    (lambda D, p: B_BLOOD + p, lambda D: B_BLOOD),  # ivim-mri
], ids=["whole", "tissue apart", "blood apart"])  # fmt: skip
def test_dstar_of_the_conventions_is_turned_into_ours(rate, add):
    f, D, theirs = np.array([0.1, 0.3]), np.array([1.0e-3, 1.8e-3]), np.array([15e-3, 60e-3])
    signals = 100 * (
        (1 - f)[:, None] * np.exp(-np.outer(D, TEN)) + f[:, None] * np.exp(-np.outer(rate(D, theirs), TEN))
    )
    found = ivimsc.fit_signals(signals, TEN)
    np.testing.assert_allclose(
        found.Dstar - add(D), theirs, rtol=1e-3
    )  # float32 signals, of seven digits D* costs four
    np.testing.assert_allclose(found.D, D, rtol=1e-4)


def test_dipys_prediction_is_equation_1():
    ivim = pytest.importorskip("dipy.reconst.ivim")
    gradients = pytest.importorskip("dipy.core.gradients")
    gtab = gradients.gradient_table(TEN, bvecs=np.where(TEN[:, None] > 0, [1.0, 0, 0], 0), b0_threshold=0)
    theirs = ivim.ivim_prediction([900.0, 0.2, 25e-3, 1.1e-3], gtab)  # S0, f, D*, D
    np.testing.assert_allclose(theirs, equation1(900.0, 0.2, 1.1e-3, 25e-3, TEN), rtol=1e-12)
