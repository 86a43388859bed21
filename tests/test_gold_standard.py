"""From a measured series to a store with truth."""

import nibabel as nib
import numpy as np
import pytest

from ivimsc.simulate import simulate_phantom, write_from_estimates, write_nifti
from ivimsc.store import EstimateStore, VoxelStore
from tests.conftest import equation1


@pytest.fixture
def series(tmp_path):
    voxels = simulate_phantom("placenta", [0, 20, 80, 200, 500], snr=60, shape=(24, 24, 4))
    write_nifti(voxels, tmp_path / "scan", stem="scan")
    return tmp_path / "scan"


def test_one_call_does_it_all(series, tmp_path):
    """The steps are the commands: what is fitted is what was registered, and what is asked for reaches every step."""
    pytest.importorskip("SimpleITK", reason="the extra [register] is not installed")
    from ivimsc.gold_standard import gold_standard

    scan, mask = series / "scan_dwi.nii.gz", series / "scan_mask.nii.gz"
    # 24 × 24 × 4: registration in 3-D at its smallest
    target = gold_standard(
        scan, series / "scan_dwi.bval", tmp_path / "out", mask, snr=12, seed=4, settings={"likelihood": "rician"}
    )
    with EstimateStore(tmp_path / "out" / "scan_registered_bayes.h5") as fit, VoxelStore(target) as store:
        assert fit.method == "bayes" and fit.options["likelihood"] == "rician"
        assert len(fit) == np.count_nonzero(nib.load(mask).dataobj)
        assert (store.attrs["snr"], store.attrs["seed"], store.attrs["noise"]) == (12, 4, "rician")
        assert store.attrs["sigma"] == pytest.approx(1 / 12)
        signals, truth = store.read(0, len(store)), dict(store.truth)
        np.testing.assert_array_equal(truth["f"], fit["f"][np.isfinite(fit["f"])])
    write_from_estimates(tmp_path / "again.h5", tmp_path / "out" / "scan_registered_bayes.h5", snr=12, seed=4)
    with VoxelStore(tmp_path / "again.h5") as again:
        np.testing.assert_array_equal(signals, again.read(0, len(again)))
    clean = equation1(truth["s0"], truth["f"], truth["d"], truth["dstar"], np.array([0, 20, 80, 200, 500]))
    # of the highest signals, where Rician noise is all but Gaussian; 4 standard errors of an SD
    assert np.std((signals - clean)[:, 0]) == pytest.approx(1 / 12, rel=4 / np.sqrt(2 * len(clean)))
