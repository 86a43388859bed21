"""Words in a stranger's store: none steers the terminal, becomes a formula, or leads out of the output folder."""

import csv
import json
import os

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.errors import InputError
from ivimsc.simulate import simulate_phantom, write_nifti
from ivimsc.store import VoxelStore, write_voxels
from tests.conftest import TEN
from tests.store.makers import changed_store

HOSTILE = "\x1b]0;owned\x07[/red]=1+1\n\u202efake"


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A voxel store with hostile words, and its fit."""
    folder = tmp_path_factory.mktemp("strangers")
    voxels = simulate_phantom("placenta", TEN, shape=(16, 16, 2))
    write_voxels(folder / "v.h5", voxels)
    with changed_store(folder / "v.h5") as file:
        names = json.loads(file.attrs["tissue_names"])
        file.attrs["tissue_names"] = json.dumps(
            dict.fromkeys(names, "") | {code: f"={code}{HOSTILE}" for code in names}
        )
        file.attrs["source"] = file.attrs["created"] = HOSTILE
    assert main(["fit", str(folder / "v.h5"), "--method", "adc", "--out", str(folder), "--no-maps"]) == 0
    return folder


def clean(text):
    return "\x1b" not in text and "\x07" not in text and "\u202e" not in text


def test_info_prints_them_written_out_and_on_one_line(stores, ivimsc):
    assert ivimsc("info", stores / "v.h5") == 0
    assert clean(ivimsc.out) and r"\x1b]0;owned\x07[/red]=1+1\n\u202efake" in ivimsc.out
    assert not [line for line in ivimsc.out.splitlines() if line.startswith("fake")]


def test_compare_prints_and_writes_them_harmless(stores, ivimsc, tmp_path):
    assert ivimsc("compare", stores / "v.h5", stores / "v_adc.h5", "--out", tmp_path, "--tissues", "--no-bound") == 0
    assert clean(ivimsc.out) and r"\x1b" in ivimsc.out
    rows = list(csv.DictReader((tmp_path / "v_compare.csv").open(newline="", encoding="utf-8")))
    names = {row["tissue"] for row in rows}
    assert len(names) > 1 and not [name for name in names if name.startswith("=")]
    assert all(clean(name) for name in names)


@pytest.mark.parametrize("method", ["../../escaped", "/tmp/escaped", "a/b", "..", "", "a\nb"])
def test_a_method_does_not_lead_out_of_the_folder(stores, ivimsc, tmp_path, method):
    (tmp_path / "e.h5").write_bytes((stores / "v_adc.h5").read_bytes())
    with changed_store(tmp_path / "e.h5") as file:
        file.attrs["method"] = method
    (tmp_path / "deep" / "er").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    assert ivimsc("maps", tmp_path / "e.h5", "--out", tmp_path / "deep" / "er") == 2
    assert "e.h5: found the method" in ivimsc.error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("phantom", ["../escaped", "a/b", None, 3])
def test_a_phantom_does_not_lead_out_of_the_folder(stores, tmp_path, phantom):
    (tmp_path / "v.h5").write_bytes((stores / "v.h5").read_bytes())
    with changed_store(tmp_path / "v.h5") as file:
        file.attrs["attrs"] = json.dumps(json.loads(file.attrs["attrs"]) | {"phantom": phantom})
    with VoxelStore(tmp_path / "v.h5") as store, pytest.raises(InputError, match=r"v\.h5: found the phantom "):
        write_nifti(store, tmp_path / "out")
    assert os.listdir(tmp_path) == ["v.h5"]


def test_sidecars_are_strict_json(stores, ivimsc, tmp_path):
    (tmp_path / "e.h5").write_bytes((stores / "v_adc.h5").read_bytes())
    with changed_store(tmp_path / "e.h5") as file:
        file.attrs["options"] = '{"low": NaN, "high": [Infinity, 1.5], "\\udcff": "\\ud800"}'
        file.attrs["bvalues"] = np.where(TEN == 500, np.inf, file.attrs["bvalues"])

    def refuse(name):
        pytest.fail(f"{name} is no JSON")

    code = ivimsc("maps", tmp_path / "e.h5", "--out", tmp_path / "out")
    if code == 2:  # such b-values may be refused before anything is written
        assert "b-values" in ivimsc.error and not (tmp_path / "out").exists()
        return
    assert code == 0
    for path in (tmp_path / "out").glob("*.json"):
        found = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        if "options" in found:
            assert found["options"]["low"] is None and found["options"]["high"] == [None, 1.5]


def test_a_file_name_that_is_no_utf_8(series, ivimsc):
    name = os.fsdecode(bytes(series) + b"/sc\xffan.nii.gz")
    os.rename(series / "scan_dwi.nii.gz", name)
    out = os.fsdecode(bytes(series) + b"/o\xff.h5")
    assert ivimsc("pack", name, "--bval", series / "scan.bval", "--out", out) == 0
    with VoxelStore(out) as store:
        assert store.source == r"sc\xffan.nii.gz"
    assert ivimsc("fit", out, "--method", "adc", "--out", series / "r") == 0
    assert ivimsc("fit", out, "--method", "adc", "--out", series / "r", "--resume") == 0
    assert ivimsc("info", out) == 0 and r"sc\xffan" in ivimsc.out
