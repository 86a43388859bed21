"""The spatial prior from files: chunks, a fit that was stopped, a single slice, voxels here and there."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.voxels import Geometry, Voxels

B = np.array([0, 10, 20, 50, 80, 100, 150, 200, 300, 500.0])
KEYS = ("f", "d", "dstar", "fstd", "outcome")


def stripes(shape=(16, 10, 2), zooms=(2.0, 2.0, 5.0), where=None, seed=0):
    """Voxels of two tissues, in all places of the volume or only `where` (x, y, z) says."""
    index = np.argwhere(np.ones(shape, bool) if where is None else where).astype(np.int32)
    left = index[:, 0] < shape[0] // 2
    f, D, Dstar = (np.where(left, a, b)[:, None] for a, b in ((0.1, 0.3), (1.5e-3, 0.9e-3), (25e-3, 60e-3)))
    clean = (1 - f) * np.exp(-B * D) + f * np.exp(-B * Dstar)
    noise = np.random.default_rng(seed).normal(0, 1 / 30, (2, *clean.shape))
    signals = np.hypot(clean + noise[0], noise[1]).astype(np.float32)
    return Voxels(signals, B, index, Geometry(shape, np.eye(4), zooms=zooms))


def job(folder, name="voxels", **more):
    settings = {"prior": "spatial", "sigma": 1 / 30}
    return FitJob(
        folder / f"{name}.h5", "bayes", folder / f"out_{name}", maps=False, settings=settings, device="cpu", **more
    )


def values(path):
    with EstimateStore(path) as store:
        return {key: store[key][:] for key in KEYS}


def test_chunks_threads_and_a_stop_between_change_no_byte(tmp_path):
    for name in ("voxels", "pieces"):
        write_voxels(tmp_path / f"{name}.h5", stripes())
    whole = values(fit_file(job(tmp_path)).store)

    def stop_soon(done, total):
        if 0 < done < total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_file(job(tmp_path, "pieces", chunk=96, threads=1), progress=stop_soon)
    pieces = values(fit_file(job(tmp_path, "pieces", chunk=64, resume=True)).store)
    for key in KEYS:
        np.testing.assert_array_equal(pieces[key], whole[key])


def test_scattered_and_isolated_voxels_are_fitted(tmp_path):
    """Places of a checkerboard touch at corners; those of every fourth have no neighbour, and the population says so."""
    grid = np.indices((24, 24, 1))
    cases = {
        "board": (grid[0] + grid[1]) % 2 == 0,
        "islands": (grid[0] % 2 + grid[1] % 2 == 0) & (grid[0] % 4 + grid[1] % 4 == 0),
    }
    for name, where in cases.items():
        write_voxels(tmp_path / f"{name}.h5", stripes((24, 24, 1), where=where))
        summary = fit_file(job(tmp_path, name))
        assert np.isfinite(values(summary.store)["f"]).all()
    assert any("no voxel has a neighbour" in note for note in summary.notes)


def test_zooms_of_zero_are_refused_before_any_work(tmp_path):
    write_voxels(tmp_path / "voxels.h5", stripes(zooms=(0.0, 2.0, 5.0)))
    with pytest.raises(InputError, match="zooms: found 0 × 2 × 5 mm, expected lengths > 0"):
        fit_file(job(tmp_path))
    assert not (tmp_path / "out_voxels").exists()


def test_the_store_is_left_as_it_was(tmp_path):
    write_voxels(tmp_path / "voxels.h5", stripes())
    before = (tmp_path / "voxels.h5").read_bytes()
    summary = fit_file(job(tmp_path))
    assert (tmp_path / "voxels.h5").read_bytes() == before
    with VoxelStore(tmp_path / "voxels.h5") as store:
        assert summary.voxels == len(store)
