"""The table of parameters, and bounds that make sense."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.parameters import BY_KEY, PARAMETERS, Bounds


def test_the_table_is_that_of_the_docs():
    """Names, units and default bounds that files and users rely on."""
    rows = [(p.code, p.key, p.symbol, p.unit, p.lower, p.upper) for p in PARAMETERS]
    assert rows == [
        ("S0", "s0", "S₀", "as the input", 0, np.inf),
        ("f", "f", "f", "1", 0, 1),
        ("D", "d", "D", "mm²/s", 0, 5e-3),
        ("Dstar", "dstar", "D*", "mm²/s", 5e-3, 0.2),
    ]
    assert [(p.display_unit, p.display_scale) for p in PARAMETERS[1:]] == [("%", 100), ("µm²/ms", 1e3), ("µm²/ms", 1e3)]
    assert all(BY_KEY[p.key] is p for p in PARAMETERS)


def test_default_bounds_are_those_of_the_table():
    assert (Bounds().f, Bounds().D, Bounds().Dstar) == ((0, 1), (0, 5e-3), (5e-3, 0.2))


@pytest.mark.parametrize(
    "bounds", [{"f": (0.5, 0.5)}, {"f": (-1, 1)}, {"D": (0, np.inf)}, {"Dstar": (0.0, 0.1)}, {"D": (0, 0.3)}]
)
def test_bounds_that_make_no_sense_are_an_error(bounds):
    with pytest.raises(InputError, match="bounds"):
        Bounds(**bounds)
