"""The table of parameters: bounds that make sense."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.parameters import Bounds


@pytest.mark.parametrize(
    "bounds", [{"f": (0.5, 0.5)}, {"f": (-1, 1)}, {"D": (0, np.inf)}, {"Dstar": (0.0, 0.1)}, {"D": (0, 0.3)}]
)
def test_bounds_that_make_no_sense_are_an_error(bounds):
    with pytest.raises(InputError, match="bounds"):
        Bounds(**bounds)
