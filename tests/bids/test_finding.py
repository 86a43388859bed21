"""Which series are fit for IVIM, and the sentences that say why others are left out."""

import numpy as np
import pytest

from ivimsc.bids.derived import find_derived, labels_of
from ivimsc.bids.finding import find_series, open_dataset
from ivimsc.bids.names import Dataset
from ivimsc.errors import InputError
from ivimsc.nifti import bval_text, write_volume
from ivimsc.voxels import Geometry
from tests.conftest import TEN

PLACE = Geometry((3, 2, 1), np.eye(4))


def put(root, name, volumes, bval=None):
    """A series of zeros in the folder that its name tells, and its own b-values where it is given any."""
    folder = root / name.split("_")[0] / "dwi"
    folder.mkdir(parents=True, exist_ok=True)
    shape = (3, 2, 1, volumes) if volumes > 1 else (3, 2, 1)
    write_volume(folder / f"{name}_dwi.nii.gz", np.zeros(shape, np.float32), PLACE)
    if bval is not None:
        (folder / f"{name}_dwi.bval").write_text(bval if isinstance(bval, str) else bval_text(bval))


def found(root, **chosen):
    return {series.relative.rpartition("/")[2]: series for series in find_series(open_dataset(root), **chosen)}


@pytest.mark.parametrize(("volumes", "bval", "bad", "says"), [
    (10, TEN, False, ""),
    (4, [5, 50, 200, 800], False, ""),
    (5, [0, 50, 400, 400, 800], False, ""),
    (4, [0, 50, 400, 400], False, "3 b-values (0, 50, 400 s/mm²), fewer than 4"),
    (4, [0, 1000, 2000, 3000], False, "no b-value between the smallest and 200 s/mm² (0, 1000, 2000, 3000)"),
    (4, [0, 20, 50, 100], False, "no b-value of 200 s/mm² or more (0, 20, 50, 100)"),
    (1, None, False, "one image, no series"),
    (4, None, False, "no .bval file"),
    (4, [0, 50, 400], True, "found 3 b-values, expected 4"),
    (4, "0 50 x 400", True, "found 'x' at position 3"),
])  # fmt: skip
def test_what_is_fit_for_ivim(tmp_path, volumes, bval, bad, says):
    put(tmp_path, "sub-01", volumes, bval)
    (series,) = found(tmp_path).values()
    assert (series.bad, bool(series.reason)) == (bad, bool(says)) and says in series.reason
    if not says:
        np.testing.assert_array_equal(series.bvalues, np.unique(bval))


def test_companions_that_cannot_be_read(tmp_path):
    for name, content in (("sub-01", b"\xff\xfe\x00\x01"), ("sub-02", b"{"), ("sub-03", b"[1]")):
        put(tmp_path, name, 10, TEN)
        (tmp_path / name / "dwi" / f"{name}_dwi.json").write_bytes(content)
    put(tmp_path, "sub-04", 10)
    (tmp_path / "sub-04" / "dwi" / "sub-04_dwi.bval").write_bytes(bytes(range(256)))
    series = found(tmp_path)
    for name in ("sub-01", "sub-02", "sub-03"):  # no fit needs them: told, and not in the way
        one = series[f"{name}_dwi.nii.gz"]
        assert not one.reason and "cannot be read" in one.notes[0] and f"{name}_dwi.json" in one.notes[0]
    assert series["sub-04_dwi.nii.gz"].bad and "found binary data" in series["sub-04_dwi.nii.gz"].reason


def test_json_files_add_up_and_the_nearer_wins(tmp_path):
    put(tmp_path, "sub-01", 10, TEN)
    (tmp_path / "dwi.json").write_text('{"EchoTime": 0.08, "FlipAngle": 90}')
    (tmp_path / "sub-01" / "sub-01_dwi.json").write_text('{"EchoTime": 0.06}')
    assert found(tmp_path)["sub-01_dwi.nii.gz"].about == {"EchoTime": 0.06, "FlipAngle": 90}


def test_the_nearest_b_values_count(tmp_path):
    put(tmp_path, "sub-01", 10, TEN)
    put(tmp_path, "sub-02", 10)
    (tmp_path / "dwi.bval").write_text("0 5 20 50 80 100 150 200 300 1000")
    largest = {name: series.bvalues[-1] for name, series in found(tmp_path).items()}
    assert largest == {"sub-01_dwi.nii.gz": 500, "sub-02_dwi.nii.gz": 1000}


def test_complex_parts_wrong_names_and_twins(tmp_path):
    put(tmp_path, "sub-01_part-mag", 10, TEN)
    put(tmp_path, "sub-01_part-phase", 10, TEN)
    put(tmp_path, "sub-02_desc-a", 10, TEN)
    put(tmp_path, "sub-02_desc-b", 10, TEN)
    put(tmp_path, "sub-03", 10, TEN)
    (tmp_path / "sub-03" / "dwi" / "sub-03_dwi.nii.gz").rename(tmp_path / "sub-03" / "dwi" / "sub-04_dwi.nii.gz")
    series = found(tmp_path)
    assert not series["sub-01_part-mag_dwi.nii.gz"].reason
    assert series["sub-01_part-phase_dwi.nii.gz"].reason == "part-phase: no magnitude images"
    assert series["sub-02_desc-a_dwi.nii.gz"].bad and "those of sub-02_desc-b" in series["sub-02_desc-a_dwi.nii.gz"].reason  # fmt: skip
    assert series["sub-04_dwi.nii.gz"].bad and "that it is of sub-03" in series["sub-04_dwi.nii.gz"].reason


def test_participants_and_sessions(tree):
    names = [series.stem for series in find_series(open_dataset(tree))]
    assert names == ["sub-01_ses-a", "sub-01_ses-b", "sub-02_run-1", "sub-02_run-2"]
    assert list(found(tree, participants=["sub-02"])) == ["sub-02_run-1_dwi.nii.gz", "sub-02_run-2_dwi.nii.gz"]
    assert list(found(tree, sessions=["b"])) == ["sub-01_ses-b_dwi.nii.gz"]
    with pytest.raises(InputError, match="participant_label: found 7, expected some of 01, 02"):
        find_series(open_dataset(tree), ["01", "7"])
    with pytest.raises(InputError, match="session_label: found c, expected some of a, b"):
        find_series(open_dataset(tree), [], ["c"])


def test_no_data_set(tmp_path):
    for folder, says in ((tmp_path / "none", "no such folder"), (tmp_path, "found no folder sub-")):
        with pytest.raises(InputError, match=says):
            open_dataset(folder)


def test_masks_and_labels_of_derivatives(tree, study):
    series = {one.stem: one for one in find_series(open_dataset(study))}
    derived = Dataset(study / "derivatives" / "manual")
    mask = find_derived(derived, series["sub-02_run-2"], "mask", "mask_from")
    assert mask.name == "sub-02_run-2_desc-brain_mask.nii.gz"
    labels, names, note = labels_of(series["sub-01_ses-a"], derived)
    assert (labels.name, names.name, note) == ("sub-01_ses-a_dseg.nii.gz", "sub-01_ses-a_dseg.tsv", "")
    assert labels_of(series["sub-01_ses-a"], None) == (None, None, "")
    assert "labels_from: found none in" in labels_of(series["sub-01_ses-a"], Dataset(study))[2]
    folder = mask.parent
    mask.rename(folder / "sub-02_desc-brain_mask.nii.gz")  # of the subject: less near, and the only one
    assert find_derived(Dataset(derived.root), series["sub-02_run-2"], "mask", "mask_from").name == "sub-02_desc-brain_mask.nii.gz"  # fmt: skip
    (folder / "sub-02_space-MNI152_desc-brain_mask.nii.gz").touch()  # another space
    (folder / "sub-02_desc-lesion_mask.nii.gz").touch()  # of several the brain
    assert find_derived(Dataset(derived.root), series["sub-02_run-2"], "mask", "mask_from").name == "sub-02_desc-brain_mask.nii.gz"  # fmt: skip
    (folder / "sub-02_desc-brain_mask.nii.gz").rename(folder / "sub-02_desc-body_mask.nii.gz")
    with pytest.raises(
        InputError, match="mask_from: found sub-02_desc-body_mask.nii.gz, sub-02_desc-lesion_mask.nii.gz"
    ):
        find_derived(Dataset(derived.root), series["sub-02_run-2"], "mask", "mask_from")
    for path in folder.glob("*desc*"):
        path.unlink()
    with pytest.raises(InputError, match="mask_from: found none in"):
        find_derived(Dataset(derived.root), series["sub-02_run-2"], "mask", "mask_from")
