"""Numbers in tables, and the paper's printed ones."""

import numpy as np

from ivimsc.paper.printed import TABLE1, TABLE3
from ivimsc.paper.result import number, spread


def test_the_papers_figures_have_their_factors():
    """Its Table 1: 0.72 × 1e-5, 0.31 × 1e-3, 0.18 × 1e-1; its Table 3 prints the same case in other factors."""
    np.testing.assert_allclose(TABLE1["SCDNN"], (7.2e-6, 3.1e-4, 1.8e-2))
    np.testing.assert_allclose(TABLE3[(20, 50, 150, 300, 500)], TABLE1["SCDNN"])


def test_numbers_have_three_digits():
    values = (0.0123456, 7.2e-6, 1234.5, 2.5e6, 0.0, float("nan"))
    assert [number(v) for v in values] == ["0.0123", "7.20e-6", "1,234", "2.50e6", "0", ""]
    assert spread([1.0]) == "1.00" and spread([1.0, 1.1]) == "1.05 ± 0.071" and spread([float("nan")]) == ""
