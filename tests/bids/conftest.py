"""A BIDS data set, simulated: subjects, sessions, runs, companions that are inherited, and series that are left out."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from ivimsc.nifti import bval_text, read_volume, write_volume
from ivimsc.simulate import simulate_phantom, write_nifti
from tests.conftest import TEN

SHAPE = (20, 20, 2)


def scan(root: Path, name: str, seed: int, scale: float = 1.0) -> Path:
    """One series ``sub-…_dwi.nii.gz`` of a phantom in its place, without companions; its mask and labels as derivatives."""
    parts = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    made = root / "made"
    voxels = simulate_phantom("placenta", snr=40, shape=SHAPE, seed=seed, bvalues=TEN)
    write_nifti(voxels, made, stem="p")
    target = root.joinpath(*parts) / "dwi" / f"{name}_dwi.nii.gz"
    derived = root.joinpath("derivatives", "manual", *parts) / "dwi"
    for folder in (target.parent, derived):
        folder.mkdir(parents=True, exist_ok=True)
    data, geometry = read_volume(made / "p_dwi.nii.gz")
    write_volume(target, (1000 * scale * data).astype(np.float32), geometry)
    for old, new in (("p_mask.nii.gz", "desc-brain_mask.nii.gz"), ("p_dseg.nii.gz", "dseg.nii.gz"), ("p_dseg.tsv", "dseg.tsv")):  # fmt: skip
        (made / old).rename(derived / f"{name}_{new}")
    shutil.rmtree(made)
    return target


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """sub-01 with two sessions, sub-02 with two runs; b-values and JSON at the root. It is copied, not changed."""
    root = tmp_path_factory.mktemp("bids") / "study"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Placentas", "BIDSVersion": "1.9.0", "DatasetDOI": "doi:10.1/x"}')  # fmt: skip
    (root / "dwi.bval").write_text(bval_text(TEN))
    (root / "dwi.json").write_text('{"EchoTime": 0.076, "MagneticFieldStrength": 1.5}')
    for seed, name in enumerate(("sub-01_ses-a", "sub-01_ses-b", "sub-02_run-1", "sub-02_run-2"), 1):
        scan(root, name, seed)
    return root


@pytest.fixture
def study(tree, tmp_path):
    """A copy of `tree` to change."""
    return shutil.copytree(tree, tmp_path / "study")
