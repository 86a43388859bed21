"""Some volumes of a series, what the files beside it say of them, and what is told of masks and of rising signals."""

import json
from pathlib import Path

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.nifti import read_series, write_bval
from ivimsc.nifti.volumes import chosen_volumes
from tests.nifti_files import save, series

BVALUES = [0, 50, 800, 50, 0, 800]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    write_bval(tmp_path / "a.bval", BVALUES)
    return save(tmp_path / "a.nii.gz", series((3, 4, 2, 6)))


@pytest.mark.parametrize(
    ("volumes", "expected"),
    [("0-2,5", [0, 1, 2, 5]), ("5, 0 1", [0, 1, 5]), ("3", [3]), ([4, 1], [1, 4]), (np.array([2]), [2]), ("2-2", [2])],
)
def test_selections(volumes: object, expected: list) -> None:
    np.testing.assert_array_equal(chosen_volumes(volumes, 6), expected)


@pytest.mark.parametrize("text", ["1\n4\n", "1 4\n", "1,4", "# kept\n1 4 # two"])
def test_selections_in_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "keep.txt").write_text(text)
    for name in (tmp_path / "keep.txt", str(tmp_path / "keep.txt")):
        np.testing.assert_array_equal(chosen_volumes(name, 6), [1, 4])


@pytest.mark.parametrize(
    ("volumes", "found"),
    [
        ("", "volumes: found no volume"), ([], "volumes: found no volume"), ("0-6", "found 0-6, expected volumes from 0 to 5"),
        ("6", "found 6, expected volumes from 0 to 5"), ("3-1", "found 3-1"), ("1,0-2", "found volume 1 twice"),
        ([-1], "found '-1'"), ([1.5], "found '1.5'"), ("1--2", "found '1--2'"), ("none.txt", "none.txt: No such file"),
    ],
)  # fmt: skip
def test_bad_selections(volumes: object, found: str) -> None:
    with pytest.raises(InputError) as error:
        chosen_volumes(volumes, 6)
    assert found in str(error.value) and "\n" not in str(error.value)


def test_bad_files_of_volumes(tmp_path: Path) -> None:
    for content, found in ((b"1\nx", "found 'x'"), (b"\xff\xfe", "binary data"), (b"", "no volume")):
        (tmp_path / "keep.txt").write_bytes(content)
        with pytest.raises(InputError, match=f"keep.txt: found {found.removeprefix('found ')}"):
            chosen_volumes(tmp_path / "keep.txt", 6)


@pytest.mark.parametrize("masked", [False, True])
def test_the_chosen_volumes_are_averaged(scan: Path, masked: bool) -> None:
    data = series((3, 4, 2, 6)).astype(float)
    mask = save(scan.with_name("m.nii"), np.ones((3, 4, 2), np.uint8)) if masked else None
    voxels = read_series(scan, scan.with_name("a.bval"), mask, volumes="0-3")
    np.testing.assert_array_equal(voxels.bvalues, [0, 50, 800])
    expected = np.stack([data[..., 0], data[..., [1, 3]].mean(-1), data[..., 2]], -1)[tuple(voxels.index.T)]
    np.testing.assert_allclose(voxels.signals, expected, rtol=6e-8)  # one rounding to float32
    assert voxels.attrs["notes"][0] == "4 of 6 volumes are used" and voxels.attrs["repeats"] == [1, 2, 1]


def notes_with(scan: Path, name: str, content: object, volumes: object = None) -> str:
    beside = scan.with_name(name)
    beside.write_text(content if isinstance(content, str) else json.dumps(content))
    try:
        return " | ".join(read_series(scan, scan.with_name("a.bval"), volumes=volumes).attrs["notes"])
    finally:
        beside.unlink()


def test_several_kinds_of_volumes_are_told(scan: Path) -> None:
    several = {"EchoTime": [0.06, 0.08, 0.1], "MagneticFieldStrength": 3}
    assert "a.json tells of 3 values of EchoTime in this series (0.06, 0.08, 0.1)" in notes_with(
        scan, "a.json", several
    )
    per_volume = {"DiffusionTime": [40, 40, 70, 70, 40, 40]}
    assert "2 values of DiffusionTime" in notes_with(scan, "a.json", per_volume)
    assert "a_T_ms.txt tells of 2 values in this series (40, 70)" in notes_with(scan, "a_T_ms.txt", "40 40 70 70 40 40")
    assert "a.bdelta tells of 2 values" in notes_with(scan, "a.bdelta", "0 0 1 1 0 0")


@pytest.mark.parametrize(
    ("name", "content", "volumes"),
    [
        ("a.json", {"EchoTime": 0.06}, None),
        ("a.json", {"EchoTime": [0.06, 0.06]}, None),
        ("a.json", {"SliceTiming": [0, 1, 2]}, None),
        ("a.json", {"EchoTime": [40, 40, 70, 70, 40, 40]}, [0, 1, 4, 5]),
        ("a.json", "{not JSON", None),
        ("a.json", [1, 2], None),
        ("a_T_ms.txt", "40 40 40 40 40 40", None),
        ("a_T_ms.txt", "1 2 3 4 5 6", None),
        ("a_index.txt", "1 1 2 2 1 1", None),
        ("b_T_ms.txt", "40 40 70 70 40 40", None),
    ],
)
def test_one_kind_of_volumes_is_not_told(scan: Path, name: str, content: object, volumes: object) -> None:
    assert "tells of" not in notes_with(scan, name, content, volumes)


def test_real_waveforms_and_diffusion_times_are_told(real_data: Path) -> None:
    folder = real_data / "wetscherek_abdomen_vol3"
    told = " | ".join(read_series(folder / "dwi_all300.nii.gz", folder / "dwi_all300.bval").attrs["notes"])
    assert "dwi_all300_T_ms.txt tells of 3 values in this series (40, 70, 100)" in told
    assert "dwi_all300_profile.txt tells of 2 values" in told
    assert "75 % of the voxels look like background; mask='auto' leaves them out" in told


def body(path: Path, **bvalues: list) -> Path:
    """A bright quarter of an image that falls with b, in little noise."""
    draw = np.random.default_rng(0)
    data = np.where(np.arange(16)[:, None, None, None] < 4, 1000.0, 0) * np.exp(-1e-3 * np.array([0, 200, 800.0]))
    data = np.abs(data + draw.normal(0, 5, (16, 16, 2, 3)))
    write_bval(path.with_suffix(".bval"), bvalues.get("bvalues", [0, 200, 800]), force=True)
    return save(path, data.astype(np.float32))


def test_an_automatic_mask(tmp_path: Path) -> None:
    path = body(tmp_path / "b.nii")
    whole = read_series(path, tmp_path / "b.bval")
    assert "75 % of the voxels look like background; mask='auto' leaves them out" in whole.attrs["notes"]
    voxels = read_series(path, tmp_path / "b.bval", mask="auto")
    assert len(voxels) == 128 and voxels.index[:, 0].max() == 3
    assert voxels.attrs["mask"] == "auto" and "mask: 128 of 512 voxels" in voxels.attrs["notes"][-1]
    save(tmp_path / "c.nii", np.zeros((16, 16, 2, 3), np.int16))
    with pytest.raises(InputError, match=r"^mask: found 'auto', expected a mask file"):
        read_series(tmp_path / "c.nii", tmp_path / "b.bval", mask="auto")


def test_a_file_called_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = body(tmp_path / "b.nii")
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "m.nii", np.ones((16, 16, 2), np.uint8)).rename(tmp_path / "auto")
    assert len(read_series(path, tmp_path / "b.bval", mask=Path("auto"))) == 512


def test_signals_that_rise_with_b_are_told(tmp_path: Path) -> None:
    path = body(tmp_path / "b.nii", bvalues=[800, 200, 0])
    assert "the signal rises by" in read_series(path, tmp_path / "b.bval").attrs["notes"][-1]
    path = body(tmp_path / "b.nii")
    assert "the signal rises" not in " ".join(read_series(path, tmp_path / "b.bval").attrs["notes"])
