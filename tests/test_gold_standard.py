"""From a measured series to a store with truth."""

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.fit import FitJob, fit_file
from ivimsc.simulate import simulate_phantom, write_nifti
from ivimsc.store import VoxelStore
from tests.conftest import equation1


@pytest.fixture
def series(tmp_path):
    voxels = simulate_phantom("placenta", [0, 20, 80, 200, 500], snr=60, shape=(24, 24, 4))
    write_nifti(voxels, tmp_path / "scan", stem="scan")
    return tmp_path / "scan"


def test_maps_become_truth(series, tmp_path):
    done = fit_file(
        FitJob(
            series / "scan_dwi.nii.gz", "nlls", tmp_path, series / "scan_dwi.bval", None, series / "scan_mask.nii.gz"
        )
    )
    out = tmp_path / "gold.h5"
    assert main(["simulate", "--from", str(done.store), "--out", str(out), "--noise", "none"]) == 0
    with VoxelStore(out) as store:
        t = store.truth
        assert np.all(t["s0"] == 1) and len(store) == done.voxels
        expected = equation1(t["s0"], t["f"], t["d"], t["dstar"], store.bvalues)
        np.testing.assert_allclose(store.read(0, len(store)), expected, atol=1e-6)
        np.testing.assert_array_equal(store.bvalues, [0, 20, 80, 200, 500])


def test_one_call_does_it_all(series, tmp_path):
    pytest.importorskip("SimpleITK", reason="the extra [register] is not installed")
    from ivimsc.gold_standard import gold_standard

    # 24 × 24 × 4: registration in 3-D at its smallest
    target = gold_standard(
        series / "scan_dwi.nii.gz", series / "scan_dwi.bval", tmp_path / "out", series / "scan_mask.nii.gz"
    )
    with VoxelStore(target) as store:
        assert set(store.truth) == {"s0", "f", "d", "dstar"} and store.attrs["snr"] == 30
        assert np.all(np.isfinite(store.truth["f"])) and 0 < np.median(store.truth["f"]) < 0.6


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
