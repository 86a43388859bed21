"""Pictures for Python: what is drawn is what was measured and fitted, on the axes that are given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import ivimsc
from ivimsc.errors import InputError
from tests.test_estimates_use import BVALUES, MASK, SIGNALS


@pytest.fixture(scope="module")
def fits():
    return {name: ivimsc.fit_signals(SIGNALS, BVALUES, name, mask=MASK) for name in ("nlls", "adc")}


def test_a_voxel_shows_its_signals_and_every_fit(fits):
    given = Figure().subplots()
    axes = ivimsc.plot.voxel(fits, SIGNALS, (2, 1, 1), axes=given)
    assert axes is given
    points, *curves = [line for line in axes.lines if len(line.get_xdata()) >= len(BVALUES)]
    np.testing.assert_array_equal(points.get_xydata(), np.column_stack([BVALUES, SIGNALS[2, 1, 1]]))
    assert len(curves) == 2
    for line, estimates in zip(curves, fits.values(), strict=True):
        np.testing.assert_allclose(line.get_ydata(), estimates.predict(line.get_xdata())[2, 1, 1])
    said = [text.get_text() for text in axes.get_legend().get_texts()]
    assert any(f"f {100 * float(fits['nlls'].f[2, 1, 1]):.3g}" in text for text in said)


def test_maps_have_a_row_for_each_fit_and_leave_out_what_a_method_lacks(fits):
    grid = ivimsc.plot.maps(fits, ("f", "d", "outcome"), z=1)
    assert grid.shape == (2, 3) and [axes.axison for axes in grid[1]] == [False, True, True]
    image = grid[0, 1].images[0].get_array()
    inside = MASK[:, :, 1].T[::-1] > 0  # y upwards, and a pixel around the voxels where there is room
    np.testing.assert_allclose(np.ma.filled(image)[inside[:, -image.shape[1]:]], (fits["nlls"].D[:, :, 1].T[::-1][inside] * 1e3))  # fmt: skip


@pytest.mark.parametrize(("call", "says"), [
    (lambda f: ivimsc.plot.voxel(f, SIGNALS, (9, 0, 0)), "place: found"),
    (lambda f: ivimsc.plot.voxel(f, SIGNALS[..., 1:], (1, 0, 0)), "signals: found shape"),
    (lambda f: ivimsc.plot.maps(f, ("g",)), "keys: found 'g'"),
    (lambda f: ivimsc.plot.maps(f, z=7), "z: found 7"),
])  # fmt: skip
def test_bad_calls_are_refused(fits, call, says):
    with pytest.raises(InputError, match=says):
        call(fits)
