"""Bayes on the simulated GPU, against the CPU's: the same points, so the same moments but for rounding."""

import numpy as np
import pytest
from numba import cuda

import ivimsc
from ivimsc.device.launch import choose_device, is_on_gpu
from ivimsc.methods import Inputs, load_method
from ivimsc.methods.bayes import method as bayes
from ivimsc.methods.bayes import on_gpu, problem
from tests.conftest import FIVE, TEN, as_voxels, phantom

FEW = {"draws": 160, "points": 96}  # below what Options allow: a simulated point takes a millisecond
GIVEN = {"sigma": 1 / 30, "prior": "lognormal"}
# Sums over points in another order; the SD of D*, a difference of large numbers, shows it most.
RTOL = {"S0": 1e-4, "f": 1e-4, "D": 1e-4, "Dstar": 1e-4, "rmse": 1e-3, "fstd": 1e-3, "dstd": 1e-3, "dstarstd": 1e-3, "ess": 1e-2}  # fmt: skip
CASES = [
    (TEN, GIVEN),
    (FIVE, {**GIVEN, "s0": 1.0}),
    (TEN, {"sigma": 1 / 30, "prior": "uniform", "likelihood": "rician"}),
    (FIVE, {"sigma": 1 / 30, "prior": "reciprocal", "likelihood": "rician", "s0": 1.0}),
    (TEN, {"sigma": "marginal", "prior": "reciprocal"}),
    (TEN, {"prior": "shrinkage", "components": 2, "sigma": 1 / 30}),
    (TEN, {"sigma": 1 / 200, "prior": "lognormal"}),  # sharp: the first proposals are tempered
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Fewer rounds, too, and fewer points in the search for the maximum."""
    monkeypatch.setattr(bayes.Options, "__post_init__", lambda self: None)
    monkeypatch.setattr(bayes, "ROUNDS", 2)
    monkeypatch.setattr(problem, "CLIMB", 8)


def both(signals, bvalues, **options):
    return [ivimsc.fit_signals(signals, bvalues, "bayes", device=d, **FEW | options) for d in ("cpu", "cuda")]


def assert_equal(cpu, gpu):
    np.testing.assert_array_equal(gpu.outcome, cpu.outcome)
    for name, rtol in RTOL.items():
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), rtol, err_msg=name)
    for name, sd in (
        ("fmap", "fstd"),
        ("dmap", "dstd"),
        ("dstarmap", "dstarstd"),
    ):  # within the last steps of the climb
        apart = np.abs(getattr(gpu, name) - getattr(cpu, name)) / getattr(cpu, sd)
        assert np.all((apart < 0.02) | np.isnan(apart)), name


@pytest.mark.parametrize(("bvalues", "options"), CASES)
def test_equal_to_the_cpu(bvalues, options):
    signals = phantom(300, bvalues, 30, seed=1).signals[:4]
    signals[1, 2], signals[2] = np.nan, 0
    cpu, gpu = both(signals, bvalues, **options)
    assert_equal(cpu, gpu)
    assert np.sum(gpu.outcome == 5) == 2


def test_an_empirical_prior_has_no_local_rounds():
    some = phantom(300, TEN, 30, seed=2)
    voxels, truth = as_voxels(some.signals[:2], TEN), {"f": some.f, "d": some.D, "dstar": some.Dstar}
    options = bayes.Options(prior="a.h5", sigma=1 / 30)
    cpu, gpu = (
        bayes.prepare(voxels, options, choose_device(d, task="bayes"), Inputs({"prior": truth})).fit(voxels.signals)
        for d in ("cpu", "cuda")
    )
    assert_equal(cpu, gpu)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_voxels_on_the_host_and_on_the_device(n):
    signals = phantom(300, FIVE, 30).signals[:n]
    cpu, gpu = both(signals, FIVE, **GIVEN)
    assert_equal(cpu, gpu)
    there = ivimsc.fit_signals(cuda.to_device(signals), FIVE, "bayes", **FEW, **GIVEN)
    for key, array in gpu.items():
        assert is_on_gpu(dict(there.items())[key])
        np.testing.assert_array_equal(dict(there.items())[key].copy_to_host(), array, err_msg=key)


def test_chunks_change_nothing(monkeypatch):
    signals = phantom(300, FIVE, 30).signals[:3]
    module = load_method("bayes")
    options = module.Options(**FEW, **GIVEN)
    fitters = [module.prepare(as_voxels(signals, FIVE), options, choose_device("cuda", task="bayes")) for _ in range(2)]
    whole = fitters[0].fit(signals, 7)
    monkeypatch.setattr(on_gpu, "CHUNK", 2)
    for (key, a), (_, b) in zip(whole.items(), fitters[1].fit(signals, 7).items(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=key)
    assert not np.array_equal(whole.f, fitters[1].fit(signals, 8).f)  # other voxels, other points
