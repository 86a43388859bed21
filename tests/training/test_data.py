"""What a network learns from: everything over S0, D and D* in µm²/ms."""

import numpy as np
import pytest

from ivimsc.store import write_voxels
from ivimsc.train import read_data
from ivimsc.voxels import Voxels
from tests.conftest import FIVE, as_voxels, equation1

SIX = [0, 20, 50, 150, 300, 500]


@pytest.fixture
def stores(tmp_path):
    """Two stores of six b-values, of other S0 and noise; their truth and signals."""
    random, made = np.random.default_rng(0), []
    for k, (n, sigma) in enumerate(((30, 4.0), (20, 7.0))):
        S0, f, D, Dstar = (random.uniform(*ends, n).astype(np.float32) for ends in ((50, 300), (0.1, 0.4), (1e-3, 2e-3), (0.02, 0.1)))  # fmt: skip
        signals = equation1(S0, f, D, Dstar, np.array(SIX)) + random.normal(0, sigma, (n, 6))
        base, attrs = as_voxels(signals, SIX), {"sigma": sigma, "noise": "gaussian"}
        truth = {"s0": S0, "f": f, "d": D, "dstar": Dstar}
        write_voxels(tmp_path / f"{k}.h5", Voxels(base.signals, base.bvalues, base.index, base.geometry, truth=truth, attrs=attrs))  # fmt: skip
        made.append((tmp_path / f"{k}.h5", base.signals, truth, sigma))
    return made


def test_signals_and_noise_are_over_s0(stores):
    found = read_data([path for path, *_ in stores], FIVE, supervised=True)
    S0 = np.concatenate([truth["s0"] for *_, truth, _ in stores])
    signals = np.concatenate([signals[:, 1:] for _, signals, *_ in stores])
    np.testing.assert_allclose(found.signals, signals / S0[:, None], rtol=1e-6)
    sigma = np.concatenate([np.full(len(truth["s0"]), sigma) for *_, truth, sigma in stores])
    np.testing.assert_allclose(found.sigma, sigma / S0, rtol=1e-6)
    f, D, Dstar = (np.concatenate([truth[key] for *_, truth, _ in stores]) for key in ("f", "d", "dstar"))
    np.testing.assert_allclose(found.truth, np.stack([f, D * 1e3, Dstar * 1e3], axis=1), rtol=1e-6)
    np.testing.assert_allclose(found.clean, equation1(np.ones(50), f, D, Dstar, FIVE), atol=1e-6)
    assert not found.rician


def test_without_truth_s0_is_the_signal_at_b_0(stores, tmp_path):
    signals = stores[0][1]
    found = read_data([write_voxels(tmp_path / "m.h5", as_voxels(signals, SIX))], FIVE, supervised=False)
    np.testing.assert_allclose(found.signals, signals[:, 1:] / signals[:, :1], rtol=1e-6)
    assert found.rician and found.truth is None and found.clean is None and np.all(np.isnan(found.sigma))
