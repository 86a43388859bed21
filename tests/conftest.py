"""Shared by all tests: signals with known truth, and one way to run a method on them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import settings

from ivimsc.device.launch import choose_device
from ivimsc.fit.inputs import inputs_of
from ivimsc.fit.noise import noise_level
from ivimsc.methods import find_method, make_options
from ivimsc.voxels import Geometry, Voxels

settings.register_profile("ivimsc", deadline=None)  # no test measures time: machines are shared, and kernels compile
settings.load_profile("ivimsc")

TEN = np.array([0, 10, 20, 50, 80, 100, 150, 200, 300, 500.0])  # the paper's protocol
FIVE = np.array([20, 50, 150, 300, 500.0])  # its sub-sampled protocol


def equation1(S0, f, D, Dstar, bvalues):
    """Equation (1) in plain numpy: the independent form that the kernels are held against."""
    S0, f, D, Dstar = (np.asarray(a, dtype=np.float64)[..., None] for a in (S0, f, D, Dstar))
    return S0 * ((1 - f) * np.exp(-bvalues * D) + f * np.exp(-bvalues * Dstar))


def phantom(n, bvalues=TEN, snr=None, seed=0):
    """n voxels with f 0.05..0.5, D 0.5..2.5e-3, D* 10..100e-3 mm²/s and Rician noise: signals and truth."""
    random = np.random.default_rng(seed)
    f, D, Dstar = random.uniform(0.05, 0.5, n), random.uniform(0.5e-3, 2.5e-3, n), random.uniform(10e-3, 100e-3, n)
    signals = equation1(np.ones(n), f, D, Dstar, bvalues)
    if snr:
        signals = np.hypot(signals + random.normal(0, 1 / snr, signals.shape), random.normal(0, 1 / snr, signals.shape))
    return SimpleNamespace(signals=signals.astype(np.float32), S0=np.ones(n), f=f, D=D, Dstar=Dstar, bvalues=bvalues)


def as_voxels(signals, bvalues):
    signals = np.ascontiguousarray(signals, dtype=np.float32)
    index = np.stack([np.arange(len(signals)), *np.zeros((2, len(signals)), int)], axis=1).astype(np.int32)
    return Voxels(signals, np.asarray(bvalues, float), index, Geometry((max(len(signals), 1), 1, 1), np.eye(4)))


def prepare_method(method, voxels, launch=None, **options):
    """The fitter of a method for `voxels`, with what its options name."""
    record = find_method(method)
    module, launch = record.load(), launch or choose_device("cpu", 1)
    chosen = make_options(module, options)
    return module.prepare(voxels, chosen, launch, inputs_of(record, chosen, lambda: noise_level(voxels, launch)))


def run_method(method, signals, bvalues, threads=1, **options):
    """Estimates of `signals` (voxel, b), straight from the method."""
    voxels = as_voxels(signals, bvalues)
    return prepare_method(method, voxels, choose_device("cpu", threads), **options).fit(voxels.signals)


@pytest.fixture(scope="session")
def real_data():
    """Folder of real scans; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real scans (../shared/data) are not on this machine")
    return folder
