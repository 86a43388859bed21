"""Data simulated again from a fit: maps become truth, S0 = 1, and the noise is that of the seed and the SNR."""

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.numerics.random_numbers import NOISE, normals
from ivimsc.outcome import Outcome
from ivimsc.simulate import write_from_estimates
from ivimsc.store import EstimateStore, PartFile, VoxelStore
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import equation1

B = np.array([0, 20, 80, 200, 500.0])
N = 40
GONE = {"f": 3, "D": 11, "Dstar": 12}  # a voxel each that lacks one of the three


@pytest.fixture
def maps(tmp_path):
    """An estimate store of 40 voxels with known values; three of them lack one."""
    random = np.random.default_rng(0)
    index = np.stack([np.arange(N) % 4, np.arange(N) // 4, np.full(N, 1)], axis=1).astype(np.int32)
    voxels = Voxels(random.random((N, 5), np.float32), B, index, Geometry((4, 10, 2), np.diag([2, 2, 5, 1.0])))
    columns = [random.uniform(*ends, N).astype(np.float32) for ends in ((50, 90), (0, 0.5), (1e-3, 2e-3), (0.01, 0.1))]
    values = dict(zip(("S0", "f", "D", "Dstar"), columns, strict=True))
    for name, voxel in GONE.items():
        values[name][voxel] = np.nan
    found = Estimates(**values, rmse=np.ones(N, np.float32), outcome=np.full(N, Outcome.CONVERGED, np.uint8))
    with PartFile.open(tmp_path / "maps.h5", PartFile.header(voxels, "nlls", {})) as part:
        part.append(found)
        part.finish(voxels, device="cpu", threads=1, seconds=1.0)
    return tmp_path / "maps.h5"


def simulated(maps, name="gold.h5", **options):
    """Signals, truth and the rest of the store that is simulated from `maps`."""
    write_from_estimates(maps.parent / name, maps, **options)
    with VoxelStore(maps.parent / name) as store:
        return store.read(0, len(store)), dict(store.truth), store.index[:], store.attrs


def test_maps_become_truth_and_voxels_without_a_number_do_not(maps):
    signals, truth, index, attrs = simulated(maps, noise="none")
    kept = np.setdiff1d(np.arange(N), list(GONE.values()))
    with EstimateStore(maps) as fit:
        for key in ("f", "d", "dstar"):
            np.testing.assert_array_equal(truth[key], fit[key][kept])
        np.testing.assert_array_equal(index, fit.index[:][kept])
    np.testing.assert_array_equal(truth["s0"], 1)
    expected = equation1(truth["s0"], truth["f"], truth["d"], truth["dstar"], B)
    np.testing.assert_allclose(signals, expected, atol=1e-7)  # float32
    assert attrs["sigma"] == 0


@pytest.mark.parametrize("seed", [0, 6])
def test_noise_is_that_of_the_seed_and_the_snr(maps, seed):
    signals, truth, _, attrs = simulated(maps, snr=5, seed=seed)
    clean = equation1(truth["s0"], truth["f"], truth["d"], truth["dstar"], B)
    draws = np.array([[normals(seed, NOISE, voxel, k) for k in range(5)] for voxel in range(len(clean))])
    expected = np.hypot(clean + draws[..., 0] / 5, draws[..., 1] / 5)
    np.testing.assert_allclose(signals, expected, atol=3e-7)  # float32 of values up to 2
    assert (attrs["snr"], attrs["sigma"], attrs["seed"], attrs["noise"]) == (5, 0.2, seed, "rician")


def test_other_bvalues_than_those_of_the_fit(maps):
    signals, truth, *_ = simulated(maps, bvalues=[300, 0], noise="none")
    expected = equation1(truth["s0"], truth["f"], truth["d"], truth["dstar"], np.array([0, 300.0]))
    np.testing.assert_allclose(signals, expected, atol=1e-7)


def test_the_command_passes_everything_on(maps, tmp_path):
    words = ["--snr", "7", "--seed", "9", "--noise", "gaussian", "--bvalues", "0,100"]
    assert main(["simulate", "--from", str(maps), "--out", str(tmp_path / "c.h5"), *words]) == 0
    signals, _, _, attrs = simulated(maps, bvalues=[0, 100], snr=7, seed=9, noise="gaussian")
    with VoxelStore(tmp_path / "c.h5") as store:
        np.testing.assert_array_equal(store.read(0, len(store)), signals)
        assert store.attrs == attrs


def test_a_fit_without_a_number_is_refused(maps, tmp_path):
    with EstimateStore(maps) as fit:
        bad, index, geometry = fit.read(3, 4), fit.index[3:4], fit.geometry
    voxels = Voxels(np.ones((1, 5), np.float32), B, index, geometry)
    with PartFile.open(tmp_path / "none.h5", PartFile.header(voxels, "nlls", {})) as part:
        part.append(bad)
        part.finish(voxels, device="cpu", threads=1, seconds=1.0)
    with pytest.raises(InputError, match="found no fitted voxel"):
        write_from_estimates(tmp_path / "gold.h5", tmp_path / "none.h5")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "neither"),
        (["--phantom", "uniform", "--from", "x.h5"], "both"),
        (["--from", "x.h5", "--voxels", "5"], "--voxels"),
        (["--from", "x.h5"], "x.h5"),
    ],
)
def test_bad_usage_is_one_line(tmp_path, capsys, words, says):
    assert main(["simulate", *words, "--out", str(tmp_path / "o.h5")]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and says in error[0]
    assert not (tmp_path / "o.h5").exists()
