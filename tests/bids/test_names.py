"""BIDS names, and the inheritance principle as the specification's own examples have it (BIDS 1.10, common principles)."""

import pytest

from ivimsc.bids.names import Dataset, name_of
from ivimsc.errors import InputError


def test_the_parts_of_a_name():
    name = name_of("sub-01_ses-pre_acq-ivim_run-2_dwi.nii.gz")
    assert name.entities == {"sub": "01", "ses": "pre", "acq": "ivim", "run": "2"}
    assert (name.suffix, name.extension) == ("dwi", ".nii.gz")
    assert name_of("dwi.bval").entities == {}
    for other in (
        "README",
        ".bidsignore",
        "sub-01_dwi",
        "sub-_dwi.nii",
        "sub-01_run-1_run-2_dwi.nii",
        "sub 01_dwi.nii",
    ):
        assert name_of(other) is None, other


@pytest.fixture
def example(tmp_path):
    """Example 1 of the specification, with its files."""
    func = tmp_path / "sub-01" / "func"
    func.mkdir(parents=True)
    names = ("default_bold.nii.gz", "longtr_bold.nii.gz", "longtr_bold.json")
    for name in names:
        (func / f"sub-01_task-rest_acq-{name}").touch()
    (tmp_path / "task-rest_bold.json").touch()
    return tmp_path


def inherited(root, name, extension=".json"):
    return [path.name for path in Dataset(root).inherited(root / "sub-01" / "func" / name, extension)]


def test_example_1_of_the_specification(example):
    assert inherited(example, "sub-01_task-rest_acq-default_bold.nii.gz") == ["task-rest_bold.json"]
    expected = ["task-rest_bold.json", "sub-01_task-rest_acq-longtr_bold.json"]
    assert inherited(example, "sub-01_task-rest_acq-longtr_bold.nii.gz") == expected


def test_another_value_or_suffix_or_place_does_not_apply(example):
    for name in ("task-other_bold.json", "task-rest_dwi.json", "sub-02_bold.json"):
        (example / name).touch()
    (example / "sub-01" / "anat").mkdir()
    (example / "sub-01" / "anat" / "sub-01_task-rest_bold.json").touch()
    assert inherited(example, "sub-01_task-rest_acq-default_bold.nii.gz") == ["task-rest_bold.json"]


def test_example_2_two_files_of_one_level_are_refused(example):
    (example / "sub-01" / "func" / "sub-01_task-rest_bold.json").touch()
    with pytest.raises(InputError, match="found sub-01_task-rest_acq-longtr_bold.json and sub-01_task-rest_bold.json"):
        inherited(example, "sub-01_task-rest_acq-longtr_bold.nii.gz")
    assert len(inherited(example, "sub-01_task-rest_acq-default_bold.nii.gz")) == 2
