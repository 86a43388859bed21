"""Labels and their names, in the forms that people have."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.nifti import write_volume
from ivimsc.outcome import Outcome
from ivimsc.regions import read_names, regions_of, usable
from tests.test_spectrum import Place

BIDS = "index\tname\tabbreviation\n1\tleft liver\tL\n2\tspleen\tS\n"
FREESURFER = "# No. Label Name: R G B A\n0 Unknown 0 0 0 0\n1  left liver  245 245 245 0\n2 spleen 205 62 78 0\n"
ITK_SNAP = '1  255 0 0  1 1 1  "left liver"\n2  0 255 0  1 1 1  "spleen"\n'
PLAIN = "1,left liver\n2,spleen\n"


@pytest.mark.parametrize(("ending", "text"), [("tsv", BIDS), ("txt", FREESURFER), ("txt", ITK_SNAP), ("txt", PLAIN)])
def test_names_of_every_form_are_found_beside_the_labels(tmp_path, ending, text):
    (tmp_path / f"l.{ending}").write_text(text)
    found = read_names(tmp_path / f"l.{ending}")
    assert {k: v for k, v in found.items() if k} == {1: "left liver", 2: "spleen"}
    write_volume(tmp_path / "l.nii.gz", np.repeat([1, 2], 4).astype(np.uint8).reshape(8, 1, 1), Place.geometry)
    regions = regions_of(Place(), tmp_path / "l.nii.gz")
    np.testing.assert_array_equal(regions["left liver"], [True, True, False, False])
    np.testing.assert_array_equal(regions["spleen"], [False, False, True, True])


def test_names_that_are_given_win_and_labels_without_a_name_keep_their_number(tmp_path):
    (tmp_path / "l.tsv").write_text(BIDS)
    (tmp_path / "other.txt").write_text("2 pancreas\n")
    write_volume(tmp_path / "l.nii", np.repeat([1, 2], 4).astype(np.uint8).reshape(8, 1, 1), Place.geometry)
    assert list(regions_of(Place(), tmp_path / "l.nii", tmp_path / "other.txt")) == ["all", "label 1", "pancreas"]


@pytest.mark.parametrize(("name", "text", "says"), [
    ("n.tsv", "number\tname\n1\tx\n", "found number, name, expected a table with the columns index and name"),
    ("n.tsv", "", "found no rows"),
    ("n.tsv", "index\tname\none\tx\n", "found the index 'one', expected a whole number"),
    ("n.tsv", "index\tname\n1\tx\n1\ty\n", "found the label 1 twice"),
    ("n.txt", "1 x\n2 x\n", "found the name 'x' for two labels"),
    ("n.txt", "liver 1\n", "found 'liver 1', expected a number and a name"),
    ("n.txt", "0 10 20\n", "found '0 10 20', expected a number and a name"),
    ("n.txt", b"\xff\xfe\x00\x01", "found binary data"),
])  # fmt: skip
def test_bad_names_are_refused_in_one_line(tmp_path, name, text, says):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as error:
        read_names(tmp_path / name)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_voxels_that_count_are_those_of_the_docs():
    """docs/outcomes.md: f and D of outcome 1, 2 and 4, D* of outcome 1."""
    outcome = np.array([int(one) for one in Outcome], np.uint8)
    for key in ("s0", "f", "d", "fstd"):
        assert list(outcome[usable(key, outcome)]) == [1, 2, 4]
    for key in ("dstar", "dstarstd"):
        assert list(outcome[usable(key, outcome)]) == [1]
