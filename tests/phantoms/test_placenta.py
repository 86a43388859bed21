"""The placenta in the package's data is what its command makes."""

import numpy as np

from ivimsc.nifti import read_series, read_volume
from ivimsc.phantoms.literature import data_folder
from ivimsc.simulate import simulate_phantom


def test_the_committed_placenta_is_what_its_command_makes():
    folder = data_folder() / "placenta"
    committed = read_series(
        *(folder / f"placenta_{end}" for end in ("dwi.nii.gz", "dwi.bval", "mask.nii.gz"))
    )  # data/README.md: seed 0, SNR 30
    made = simulate_phantom("placenta", shape=(80, 80, 5))
    np.testing.assert_array_equal(committed.bvalues, made.bvalues)
    np.testing.assert_array_equal(committed.index, made.index)
    # The last digits of exp, sin and arctan2 differ between processors; a tissue border may move by a voxel with them.
    same = np.isclose(committed.signals, made.signals, rtol=1e-5, atol=1e-6).all(axis=1)
    assert same.mean() > 0.999
    for key, values in made.truth.items():
        volume, _ = read_volume(folder / f"placenta_model-ivim_desc-truth_param-{key}_dwimap.nii.gz")
        assert np.isclose(volume[tuple(made.index.T)], values, rtol=1e-5, atol=0).mean() > 0.999
