"""A noise level that is not the same everywhere."""

import numpy as np
import pytest

import ivimsc
from ivimsc.cli import main
from ivimsc.errors import InputError
from ivimsc.nifti import write_volume
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, write_voxels
from ivimsc.voxels import Geometry
from tests.conftest import TEN, as_voxels, phantom

N = 400
SIGMA = np.linspace(2.0, 20.0, N)  # as towards the middle of a scan with parallel imaging


def signals():
    return 300 * phantom(N).signals + SIGMA[:, None] * np.random.default_rng(1).normal(0, 1, (N, 10))


@pytest.mark.parametrize(("method", "options"), [("nlls", {}), ("segmented", {}), ("adc", {}), ("ista", {"spectrum": None}), ("scdnn", {}), ("bayes", {"prior": "reciprocal"})])  # fmt: skip
def test_each_voxel_is_fitted_with_its_own_noise(method, options):
    """A map that holds one number is that number, and a voxel's result is that of its own number."""
    y = signals()
    options = {k: v for k, v in options.items() if v is not None}
    e = ivimsc.fit_signals(y, TEN, method, sigma=SIGMA, **options)
    for v in (0, 150, 399):
        alone = ivimsc.fit_signals(y[v : v + 1], TEN, method, sigma=float(SIGMA[v]), **options)
        for key, value in alone.items():
            if key not in (
                "ess",
                "iterations",
                "fmap",
                "dmap",
                "dstarmap",
            ):  # signals over their noise are rounded elsewhere
                many = dict(e.items())[key][v]
                tolerance = {"bayes": 0.05}.get(method, 3e-3)  # draws are numbered by voxel
                np.testing.assert_allclose(many, value[0], rtol=tolerance, atol=1e-6, err_msg=key)
    if e.spectrum is not None:
        total = np.add.reduceat(e.spectrum.data, e.spectrum.indptr[:-1])
        np.testing.assert_allclose(total, e.S0, rtol=1e-5)


def test_standard_errors_and_outcomes_follow_the_map():
    y = signals()
    e, flat = ivimsc.fit_signals(y, TEN, sigma=SIGMA), ivimsc.fit_signals(y, TEN)
    assert np.median(e.dstd[-50:] / e.dstd[:50]) > 5
    assert abs(np.median(e.chi2[:100]) / np.median(e.chi2[-100:]) - 1) < 0.25  # one noise for all: a factor of 20
    assert np.median(flat.chi2[-100:]) / np.median(flat.chi2[:100]) > 10
    assert not np.any(e.outcome == Outcome.MISFIT) and np.any(flat.outcome == Outcome.MISFIT)


def test_a_file_of_the_same_place_is_read(tmp_path, capsys):
    y = signals()
    write_voxels(tmp_path / "v.h5", as_voxels(y, TEN))
    write_volume(tmp_path / "noise.nii.gz", SIGMA.astype(np.float32)[:, None, None], Geometry((N, 1, 1), np.eye(4)))
    words = ["fit", str(tmp_path / "v.h5"), "--out", str(tmp_path), "--set", f"sigma={tmp_path / 'noise.nii.gz'}"]
    assert main(words) == 0
    assert "SD of one image from noise.nii.gz, 11" in capsys.readouterr().out
    expected = ivimsc.fit_signals(y, TEN, sigma=SIGMA)
    with EstimateStore(tmp_path / "v_nlls.h5") as store:
        assert store.options["sigma"] == "noise.nii.gz" and len(store.options["sigma_sha256"]) == 64
        np.testing.assert_allclose(store["fstd"][:], expected.fstd, rtol=1e-4)
    write_volume(tmp_path / "other.nii.gz", np.ones((N, 2, 1), np.float32), Geometry((N, 2, 1), np.eye(4)))
    words[-1] = f"sigma={tmp_path / 'other.nii.gz'}"
    assert main([*words, "--force"]) == 2 and "expected (400, 1, 1)" in capsys.readouterr().err


def test_voxels_without_noise_are_told():
    y, sigma = signals(), SIGMA.copy()
    sigma[:3] = 0, np.nan, -1
    with pytest.warns(UserWarning, match="3 voxels have no noise level above 0"):
        e = ivimsc.fit_signals(y, TEN, sigma=sigma)
    assert np.all(e.outcome[:3] == Outcome.BAD_SIGNAL) and not np.any(e.outcome[3:] == Outcome.BAD_SIGNAL)


def test_shapes():
    y = signals().reshape(20, 20, 10)
    e = ivimsc.fit_signals(y, TEN, sigma=SIGMA.reshape(20, 20))
    np.testing.assert_array_equal(e.f.ravel(), ivimsc.fit_signals(y.reshape(-1, 10), TEN, sigma=SIGMA).f)
    with pytest.raises(InputError, match=r"option sigma: found an array of shape \(7,\), expected \(20, 20\)"):
        ivimsc.fit_signals(y, TEN, sigma=np.ones(7))
    with pytest.raises(InputError, match="option s0: found 300.0 beside a map of sigma"):
        ivimsc.fit_signals(y, TEN, sigma=SIGMA.reshape(20, 20), s0=300.0)
    with pytest.raises(InputError, match="found no number above 0"):
        ivimsc.fit_signals(y, TEN, sigma=np.zeros((20, 20)))
