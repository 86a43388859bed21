"""``ivimsc bids`` on the command line: its words, its table, its exit codes."""

import pytest

from ivimsc.cli.bids import spread
from tests.bids.conftest import study, tree  # noqa: F401, the data set


def test_lists_as_bids_apps_take_them():
    words = ["b", "o", "participant", "--participant-label", "01", "02", "--n-procs", "2", "--method", "nlls", "adc", "--force"]  # fmt: skip
    each = ["--participant-label", "01", "--participant-label", "02", "--n-procs", "2", "--method", "nlls", "--method", "adc"]  # fmt: skip
    assert spread(words) == ["b", "o", "participant", *each, "--force"]


def test_a_study_and_its_group(ivimsc, study, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    (study / "sub-02" / "dwi" / "sub-02_run-2_dwi.bval").write_bytes(b"\xff\x00")
    words = ["bids", study, out, "participant", "--participant_label", "sub-01", "02", "--method", "nlls", "adc"]
    assert ivimsc(*words) == 1
    lines = ivimsc.out.splitlines()
    assert "sub-01_ses-b_dwi.nii.gz adc: fitted: 409 voxels" in ivimsc.out
    assert any(line.split() == ["sub-01", "4", "0", "0", "0", *line.split()[5:]] for line in lines)
    assert any(line.split()[:5] == ["sub-02", "2", "0", "0", "1"] for line in lines)
    assert "failed: sub-02_run-2_dwi.nii.gz: " in ivimsc.out and "found binary data" in ivimsc.out
    assert "bids: 2 of 2 subjects" in ivimsc.err
    (study / "sub-02" / "dwi" / "sub-02_run-2_dwi.bval").unlink()
    assert ivimsc(*words) == 0 and "complete: 409 voxels" in ivimsc.out
    assert ivimsc(*words, "--set", "max_iterations=50") == 1 and "--force replaces it" in ivimsc.out
    assert ivimsc("bids", study, out, "group", "--method", "nlls") == 0
    assert "nlls: medians of the scans" in ivimsc.out and "adc" not in ivimsc.out
    assert f"written: {out / 'group.html'}" in ivimsc.out


def test_bad_usage(refused, tree, tmp_path):  # noqa: F811
    out = tmp_path / "out"
    refused("bids", tmp_path / "none", out, "participant", says="no such folder, expected a BIDS data set")
    refused("bids", tree, tree / "out", "participant", says="found a folder within the data set")
    refused("bids", tree, out, "both", says="found 'both', expected participant or group")
    refused("bids", tree, out, "participant", "--participant-label", "7", says="--participant-label: found 7, expected some of 01, 02")  # fmt: skip
    refused("bids", tree, out, "participant", "--mask-from", "x", says="--mask-from: found x")
    refused("bids", tree, out, "participant", "--n-procs", "0", says="--n-procs: found 0")
    refused("bids", tree, out, "group", says="found no such folder, expected the results of ivimsc bids")
    (tmp_path / "empty").mkdir()
    refused("bids", tmp_path / "empty", out, "participant", says="found no folder sub-…")


@pytest.mark.parametrize("processes", [2])
def test_processes_give_the_same_files(ivimsc, tree, tmp_path, processes):  # noqa: F811
    assert ivimsc("bids", tree, tmp_path / "a", "participant") == 0
    assert ivimsc("bids", tree, tmp_path / "b", "participant", "--n-procs", processes) == 0
    maps = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.nii.gz"))
    assert len(maps) == 40
    for path in maps:
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes()
