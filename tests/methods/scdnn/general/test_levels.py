"""Levels of noise, the limit of misfits, protocols, and the weights of a level against those of torch."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.methods.scdnn.general.canonical import SNR
from ivimsc.methods.scdnn.general.levels import (
    LEVELS,
    Level,
    levels_of,
    require_protocol,
    rough_scale,
    sigma_of,
)
from ivimsc.models import read_model
from tests.conftest import TEN
from tests.methods.scdnn.test_method import shipped_model


def test_levels_are_steps_of_twelve_percent_over_the_range_of_the_training():
    numbers = np.arange(LEVELS)
    snr = np.array([1 / sigma_of(k) for k in numbers])
    np.testing.assert_allclose(snr[1:] / snr[:-1], 1.12, rtol=1e-12)
    assert snr[0] == SNR[0] and snr[-1] <= SNR[1] < 1.12 * snr[-1]
    level, outside = levels_of(snr * 1.05)  # below the middle to the next, which is at 1.058
    np.testing.assert_array_equal(level, numbers)
    assert not outside.any()
    np.testing.assert_array_equal(levels_of(snr[:-1] * 1.065)[0], numbers[1:])


def test_noise_outside_the_training():
    level, outside = levels_of(np.array([1.0, SNR[0] / 1.07, SNR[0] / 1.05, SNR[1] * 1.2, np.inf, 0.0, -1.0, np.nan]))
    np.testing.assert_array_equal(outside, [True, True, False, True, True, True, True, True])
    np.testing.assert_array_equal(level, [0, 0, 0, LEVELS - 1, LEVELS - 1, 0, 0, 0])


@pytest.mark.parametrize(("bvalues", "says"), [
    ([0, 50, 1000, 1500, 2000], "b = 1500, 2000 s/mm² lies beyond 0..1000"),
    ([31, 200, 500, 800], "the smallest b-value, 31 s/mm², is above 0..30"),
    ([40, 200, 500, 800], "the smallest b-value, 40 s/mm², is above 0..30"),
    ([0, 20, 50, 100], "the largest b-value, 100 s/mm², is below 300..1000"),
    (range(0, 420, 20), "21 b-values are more than 4 to 20"),
])  # fmt: skip
def test_a_protocol_outside_the_card(bvalues, says):
    (note,) = require_protocol(np.array(bvalues, float), "m")
    assert note.startswith(f"warning: {says}, which the model was trained for; all voxels have outcome 7: do not use")


def test_protocols_of_the_card():
    for bvalues in (TEN, [30, 200, 500, 1010.0], [0, 50, 100, 297.5], np.arange(20) * 20.0):
        assert require_protocol(np.array(bvalues, float), "m") == []
    with pytest.raises(InputError, match="m: found 3 b-values, expected at least 4"):
        require_protocol(TEN[:3], "m")


def test_a_rough_scale_is_the_larger_of_the_first_two_signals():
    y = np.array([[1, 2, 9], [5, 3, 9], [0, 0, 9]], np.float32)
    np.testing.assert_array_equal(rough_scale(y), [2, 5, 1e-30])


def test_coordinates_give_back_the_amplitude_of_noise_free_signals():
    """ẑ over S0 does not depend on the unit of the signal, and the linear S0 scales with it."""
    level = Level.of(read_model(shipped_model()), TEN * 1e-3, 1 / 100)
    y = 0.8 * np.exp(-TEN * 1e-3) + 0.2 * np.exp(-TEN * 50e-3)
    z, s0 = level.coordinates(np.stack([y, 300 * y]))
    np.testing.assert_allclose(s0, [s0[0], 300 * s0[0]], rtol=1e-12)
    np.testing.assert_allclose(z[1], z[0], rtol=1e-6)
    assert s0[0] == pytest.approx(1, abs=0.02)  # it leans on the prior, whose mean S0 is 1, at SNR 100


def test_weights_are_those_of_torch():
    torch = pytest.importorskip("torch")
    from ivimsc.methods.scdnn.general.canonical import Basis, Projection
    from ivimsc.methods.scdnn.general.network import General
    from ivimsc.methods.scdnn.network import Options

    model = read_model(shipped_model())
    net = General(Options(variant="general", atoms=256, units=4))
    state = {k: torch.tensor(v) for k, v in model.arrays.items() if k not in ("diffusivities", "basis")}
    net.load_state_dict(state, strict=False)
    basis = Basis(*(model.arrays[k].astype(np.float64) for k in ("diffusivities", "basis")))
    scan = Projection.of(basis, TEN * 1e-3, 0.03)
    level = Level.of(model, TEN * 1e-3, 0.03)
    with torch.no_grad():
        contexts, mixes = (torch.tensor(a[None], dtype=torch.float32) for a in (scan.context, scan.mix))
        for found, expected in zip(level.weights[:3], net.weights(contexts, mixes), strict=True):
            expected = expected[0].numpy()
            assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
    np.testing.assert_array_equal(level.weights.grid, net.grid.numpy())
    assert level.weights[4:] == (128, False, False)
