"""The thresholds H of equation (7), against numpy, in both precisions."""

import numpy as np
import pytest

from ivimsc.numerics.thresholds import hard, soft

U = np.array([-2.0, -0.5, -0.0, 0.0, 0.25, 0.5, 0.75, 3.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cut", [-1.0, 0.0, 0.5, 4.0])
def test_thresholds_are_numpys_where_and_maximum(dtype, cut):
    u, cut = U.astype(dtype), dtype(cut)
    np.testing.assert_array_equal([soft(each, cut) for each in u], np.maximum(u - cut, 0))
    np.testing.assert_array_equal([hard(each, cut) for each in u], np.where((u >= cut) & (u > 0), u, 0))


def test_the_type_of_the_coefficient_is_kept():
    """A float64 in between would keep float32 loops from becoming vector instructions of twice the width."""
    for function in (soft, hard):
        function(np.float32(1), np.float32(0.5)), function(1.0, 0.5)
        assert {str(s.return_type) for s in function.nopython_signatures} == {"float32", "float64"}
        assert all(s.return_type == s.args[0] for s in function.nopython_signatures)
