"""`VoxelStore.write`: arrays, volumes and masks give the store that the same NIfTI files give; what does not fit is told."""

import numpy as np
import pytest

import ivimsc
from ivimsc.errors import InputError
from ivimsc.nifti import read_series, write_volume
from ivimsc.store import VoxelStore, write_voxels
from ivimsc.store import arrays as arrays_module
from ivimsc.voxels import Geometry

B = [0, 500, 0, 50, 200, 50.0]  # in the order of the images: b = 0 and b = 50 come twice
AFFINE = np.array([[-2, 0.1, 0, 90], [0.1, 2, 0.3, -126], [0, -0.3, 4, -72], [0, 0, 0, 1.0]])
SHAPE = (5, 4, 3)


@pytest.fixture
def volume():
    return np.random.default_rng(0).integers(1, 2000, (*SHAPE, len(B))).astype(np.int16)


@pytest.fixture
def mask():
    inside = np.random.default_rng(1).random(SHAPE) > 0.4
    inside[0, 0, 0] = True
    return inside


def test_it_is_the_store_of_the_same_nifti_files(tmp_path, volume, mask):
    write_volume(
        tmp_path / "s.nii.gz",
        volume,
        Geometry(SHAPE, AFFINE, sform=AFFINE, sform_code=2, zooms=tuple(np.linalg.norm(AFFINE[:3, :3], axis=0))),
    )
    (tmp_path / "s.bval").write_text(" ".join(f"{b:g}" for b in B))
    packed = read_series(tmp_path / "s.nii.gz", tmp_path / "s.bval", mask=mask)
    write_voxels(tmp_path / "packed.h5", packed)
    assert VoxelStore.write(tmp_path / "v.h5", volume, B, mask, AFFINE) == tmp_path / "v.h5"
    with VoxelStore(tmp_path / "v.h5") as mine, VoxelStore(tmp_path / "packed.h5") as theirs:
        assert mine.signals_sha256 == theirs.signals_sha256 and len(mine) == mask.sum()
        np.testing.assert_array_equal(mine.index, theirs.index)
        np.testing.assert_array_equal(mine.bvalues, [0, 50, 200, 500])
        assert (
            mine.attrs["repeats"] == theirs.attrs["repeats"] == [2, 2, 1, 1]
            and mine.attrs["notes"] == theirs.attrs["notes"]
        )
        np.testing.assert_allclose(mine.geometry.affine, theirs.geometry.affine, atol=1e-4)  # NIfTI keeps float32
        assert mine.verify() == []


def test_signals_are_the_means_of_numpy_at_their_places(tmp_path, volume, mask):
    missing = volume.astype(float)
    missing[1, 2, 1, 2], mask[1, 2, 1] = np.nan, True  # one of two images at b = 0
    with VoxelStore(VoxelStore.write(tmp_path / "v.h5", missing, B, mask)) as store:
        x, y, z = store.index[:].T
        expected = np.stack([np.nanmean(missing[x, y, z][:, np.array(B) == b], axis=1) for b in store.bvalues], axis=1)
        np.testing.assert_allclose(store.read(0, len(store)), expected, rtol=1e-6)  # float32
        assert np.all(np.diff(np.ravel_multi_index((x, y, z), SHAPE, order="F")) > 0)  # x fastest, no voxel twice
        assert "1 voxel has volumes that are NaN or Inf" in " ".join(store.attrs["notes"])
        assert store.geometry.shape == SHAPE and np.array_equal(store.geometry.affine, np.eye(4))


def test_blocks_do_not_matter_and_a_memmap_is_taken(tmp_path, volume, mask, monkeypatch):
    np.save(tmp_path / "volume.npy", volume)
    whole = VoxelStore.write(tmp_path / "a.h5", volume, B, mask)
    monkeypatch.setattr(arrays_module, "BLOCK", 7)
    pieces = VoxelStore.write(tmp_path / "b.h5", np.load(tmp_path / "volume.npy", mmap_mode="r"), B, mask)
    with VoxelStore(whole) as a, VoxelStore(pieces) as b:
        assert a.signals[:].tobytes() == b.signals[:].tobytes() and a.index[:].tobytes() == b.index[:].tobytes()


@pytest.mark.parametrize("shape", [(6,), (3, 2), (3, 2, 1)])
def test_truth_tissue_and_what_else_there_is_to_say(tmp_path, shape):
    f = np.linspace(0.1, 0.4, 6).reshape(shape, order="F")
    signals = ivimsc.simulate_signals(100.0, f, 1e-3, 0.03, [0, 50, 200, 800])
    codes = np.arange(6).reshape(shape, order="F") % 2 * 3
    path = VoxelStore.write(
        tmp_path / "v.h5", signals, [0, 50, 200, 800], truth={"S0": 100.0, "f": f, "D": 1e-3, "dstar": 0.03}, tissue=codes.astype(float),
        tissue_names={3: "liver"}, repeats=[1, 4, 2, 8], source="me", attrs={"sigma": 2.0, "noise": "rician", "notes": ["mine"]},
    )  # fmt: skip
    with VoxelStore(path) as store:
        np.testing.assert_allclose(
            store.truth["f"], np.linspace(0.1, 0.4, 6), rtol=1e-6
        )  # x fastest in any number of axes
        assert store.truth_keys == ("s0", "f", "d", "dstar") and np.all(store.truth["dstar"] == np.float32(0.03))
        assert store.tissue.tolist() == [0, 3, 0, 3, 0, 3] and store.tissue_names == {0: "label 0", 3: "liver"}
        assert store.weights.tolist() == [1, 4, 2, 8] and store.source == "me"
        assert (store.attrs["sigma"], store.attrs["noise"], store.attrs["notes"][0]) == (2.0, "rician", "mine")
        assert store.geometry.shape == (*shape, 1, 1)[:3]


def test_repeats_follow_their_bvalues(tmp_path):
    with VoxelStore(VoxelStore.write(tmp_path / "v.h5", np.ones((2, 3)), [500, 0, 50], repeats=[5, 1, 2])) as store:
        assert store.weights.tolist() == [1, 2, 5]


def test_a_geometry_or_a_store_says_where_it_lies(tmp_path, volume, mask):
    first = VoxelStore.write(tmp_path / "a.h5", volume, B, mask, AFFINE)
    with (
        VoxelStore(first) as place,
        VoxelStore(VoxelStore.write(tmp_path / "b.h5", volume, B, geometry=place)) as store,
    ):
        np.testing.assert_array_equal(store.geometry.affine, AFFINE)
        assert store.geometry.sform_code == 2 and len(store) == 60


def test_masked_values_are_missing(tmp_path):
    signals = np.ma.masked_equal([[10.0, 8, 6], [10, 0, 6]], 0)
    with VoxelStore(VoxelStore.write(tmp_path / "v.h5", signals, [0, 50, 200])) as store:
        assert np.isnan(store.read(0, 2)[1, 1]) and np.isfinite(store.read(0, 2)).sum() == 5


GOOD = {"signals": np.ones((3, 4, 2, 3)), "bvalues": [0, 50, 500]}


@pytest.mark.parametrize(("change", "says"), [
    ({"signals": np.ones(3)}, r"signals: found shape \(3,\), expected \(voxel, 3\), \(x, y, 3\) or \(x, y, z, 3\)"),
    ({"signals": np.ones((2, 4))}, r"signals: found shape \(2, 4\), expected \(voxel, 3\)"),
    ({"signals": np.ones((0, 3))}, r"signals: found shape \(0, 3\), expected at least one voxel"),
    ({"signals": np.ones((2, 3), complex)}, "signals: found dtype complex128, expected real numbers"),
    ({"signals": [["a", "b", "c"]]}, "signals: found dtype <U1, expected real numbers"),
    ({"bvalues": [0, -1, 500]}, "bvalues: found -1 at position 2 of 3, expected finite b-values >= 0"),
    ({"bvalues": [0, 0.05, 0.5]}, "bvalues: found 0.5 as the largest b-value, expected 10 to 100000"),
    ({"mask": np.ones((3, 4))}, r"mask: found shape \(3, 4\), expected \(3, 4, 2\), that of the signals without b"),
    ({"mask": np.zeros((3, 4, 2))}, "mask: found no voxel above 0, expected at least one"),
    ({"geometry": np.eye(3)}, r"geometry: found numbers of shape \(3, 3\) that are none, expected an affine"),
    ({"geometry": np.diag([1, 0, 1, 1.0])}, "geometry: found .* expected an affine .* that can be inverted"),
    ({"geometry": np.full((4, 4), np.nan)}, "geometry: found .* expected an affine"),
    ({"geometry": "scan.nii.gz"}, "geometry: found str, expected an affine"),
    ({"geometry": Geometry((9, 9, 9), np.eye(4))}, r"geometry: found a volume of shape \(9, 9, 9\), expected \(3, 4, 2\)"),
    ({"truth": {"f": 0.1}}, "truth: found f, expected s0, f, d, dstar"),
    ({"truth": {"s0": 1, "f": np.ones(5), "d": 1e-3, "dstar": 0.03}}, r"truth: found f of shape \(5,\), expected numbers \(3, 4, 2\)"),
    ({"truth": {"s0": 1, "f": "x", "d": 1e-3, "dstar": 0.03}}, "truth: found f of shape"),
    ({"tissue": np.ones((3, 4))}, r"tissue: found shape \(3, 4\), expected \(3, 4, 2\)"),
    ({"tissue": np.full((3, 4, 2), 0.5)}, "tissue: found values of float64 from 0.5 to 0.5, expected whole numbers"),
    ({"tissue": np.full((3, 4, 2), 256)}, "tissue: found values of int64 from 256 to 256, expected whole numbers from 0 to 255"),
    ({"tissue": np.full((3, 4, 2), np.nan)}, "tissue: found values of float64 from nan to nan"),
    ({"tissue_names": {1: "liver"}}, "tissue_names: found names without tissue"),
    ({"tissue": np.ones((3, 4, 2), int), "tissue_names": {1: 2}}, "tissue_names: found 1: 2, expected a code"),
    ({"repeats": [1, 2]}, "repeats: found .* expected 3 numbers of images"),
    ({"bvalues": [0, 0, 500], "repeats": [1, 2, 1]}, "repeats: found with b-values that come several times"),
    ({"attrs": {"x": object()}}, "attrs: found .* expected names and JSON types"),
    ({"attrs": {"sigma": "large"}}, "attrs: found sigma of another kind"),
    ({"labels": 1}, "labels: found an argument of that name, expected one of tissue, tissue_names"),
])  # fmt: skip
def test_what_does_not_fit_is_told_in_one_line_and_nothing_is_written(tmp_path, change, says):
    with pytest.raises(InputError, match=says) as error:
        VoxelStore.write(tmp_path / "v.h5", **(GOOD | change))
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_nothing_is_overwritten_without_force(tmp_path):
    path = VoxelStore.write(tmp_path / "v.h5", **GOOD)
    with pytest.raises(InputError, match=r"v\.h5: found an existing file"):
        VoxelStore.write(path, **GOOD)
    VoxelStore.write(path, 2 * GOOD["signals"], GOOD["bvalues"], force=True)
    with VoxelStore(path) as store:
        assert store.read(0, 1).tolist() == [[2, 2, 2]]
