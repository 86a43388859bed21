"""Registration: known motion is taken back, b-vectors turn along, real images come to lie on each other."""

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from ivimsc.cli import main
from ivimsc.errors import InputError
from ivimsc.register import Registration, register_images, turned
from ivimsc.simulate import simulate_phantom
from ivimsc.voxels import Geometry

pytest.importorskip("SimpleITK", reason="the extra [register] is not installed")


def phantom(shape, bvalues):
    voxels = simulate_phantom("placenta", bvalues, snr=50, shape=shape)
    volume = np.zeros((*shape, len(bvalues)), np.float32)
    volume[tuple(voxels.index.T)] = voxels.signals
    return volume, voxels.geometry.zooms


def matrix(angle, shift, shape, zooms):
    """Rotation about z by `angle` [rad] about the centre, then `shift` [mm]: (4, 4) in mm along the voxel axes."""
    turn = np.eye(3)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    centre = (np.array(shape) - 1) / 2 * zooms
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = turn, np.array(shift) + centre - turn @ centre
    return out


def moved(volume, matrices, zooms):
    """Every image looked up at M x: independent of ITK."""
    scale = np.diag([*zooms, 1.0])
    out = np.empty_like(volume)
    for k, m in enumerate(matrices):
        in_voxels = np.linalg.inv(scale) @ m @ scale
        out[..., k] = affine_transform(volume[..., k], in_voxels[:3, :3], in_voxels[:3, 3], order=3)
    return out


def spread(matrices, inside, zooms):
    """Mean distance [mm] of the images from where they lie on average, over the voxels of the phantom."""
    points = np.argwhere(inside) * np.array(zooms)
    places = np.stack([points @ m[:3, :3].T + m[:3, 3] for m in matrices])
    return np.linalg.norm(places - places.mean(axis=0), axis=-1).mean()


@pytest.mark.parametrize("planar", [False, True], ids=["3-D", "planar"])
def test_known_motion_is_taken_back(planar):
    """Slices are cut off after the motion, so that what moves in from outside is anatomy, as in a scanner."""
    shape, bvalues = ((48, 48, 1) if planar else (48, 48, 10)), [0, 50, 150, 300, 500]
    volume, zooms = phantom((48, 48, 10), bvalues)
    kept = slice(0, 1) if planar else slice(2, 8)
    volume = volume[:, :, 5:6] if planar else volume
    chance = np.random.default_rng(2)
    true = [np.eye(4)]
    for _ in bvalues[1:]:
        shift = chance.normal(0, 4, 3) * [1, 1, 0 if planar else 0.5]
        true.append(matrix(chance.normal(0, 0.03), shift, shape, zooms))
    images = moved(volume, true, zooms)[:, :, kept]
    found = register_images(images, zooms, planar=planar)
    cut = np.eye(4)
    cut[2, 3] = kept.start * zooms[2]
    before, after = [t @ cut for t in true], [t @ cut @ m[0] for t, m in zip(true, found.matrices, strict=True)]
    inside = volume[:, :, kept, 0] > 0
    assert spread(after, inside, zooms) < 0.25 * spread(before, inside, zooms)  # measured: 4.1 mm before, 0.6 after
    assert found.displacement.shape == found.total.shape == (6, 5)
    assert found.best == found.displacement.mean(axis=1).argmin()
    assert found.images.shape == images.shape


def test_images_that_lie_right_stay_and_threads_do_not_matter():
    volume, zooms = phantom((48, 48, 6), [0, 50, 300])
    one, two = (register_images(volume, zooms, threads=n) for n in (1, 2))
    assert one.total[one.best].max() < 0.15 * zooms[0]
    np.testing.assert_array_equal(one.matrices, two.matrices)


def test_directions_turn_with_their_images():
    """An image seen through a rotation by +90° about z (template to image): its x gradient is the template's -y."""
    turn = matrix(np.pi / 2, (0, 0, 0), (3, 3, 3), (1, 1, 1))
    registration = Registration(np.zeros((1, 1, 1, 2)), np.stack([np.eye(4)[None], turn[None]]), np.zeros((6, 2)), np.zeros((6, 2)), 0)  # fmt: skip
    directions = np.array([[1.0, 1], [0, 0], [0, 0]])
    left_handed = Geometry((1, 1, 1), np.diag([-1.0, 1, 1, 1]))
    np.testing.assert_allclose(turned(directions, registration, left_handed), [[1, 0], [0, -1], [0, 0]], atol=1e-12)
    # FSL counts x from the other side where the affine's determinant is positive: the turn is the other way round
    np.testing.assert_allclose(
        turned(directions, registration, Geometry((1, 1, 1), np.eye(4))), [[1, 0], [0, 1], [0, 0]], atol=1e-12
    )


def test_real_images_come_to_lie_on_each_other(real_data):
    """12 of the 300 images of the abdomen (b = 0 and 50, every direction): their correlation with their mean rises."""
    folder = real_data / "wetscherek_abdomen_vol3"
    images = np.asarray(nib.load(folder / "dwi_all300.nii.gz").dataobj).astype(np.float32)
    bvalues = np.loadtxt(folder / "dwi_all300.bval")
    chosen = np.concatenate([np.flatnonzero(bvalues == b)[::6][:6] for b in (0, 50)])
    found = register_images(images[..., chosen], (4.0, 4.0, 5.0), planar=True)

    def agreement(stack):
        inside = np.all(np.isfinite(stack), axis=-1)
        values = stack[inside]
        mean = values.mean(axis=1)
        return np.mean([np.corrcoef(values[:, k], mean)[0, 1] for k in range(values.shape[1])])

    assert agreement(found.images) > agreement(images[..., chosen])
    assert found.displacement[-1].mean() < found.displacement[0].mean()


class TestCommand:
    @pytest.fixture
    def series(self, tmp_path):
        volume, zooms = phantom((32, 32, 4), [0, 100, 400])
        nib.save(nib.Nifti1Image(volume, np.diag([*zooms, 1.0])), tmp_path / "scan.nii.gz")
        (tmp_path / "scan.bval").write_text("0 100 400\n")
        np.savetxt(tmp_path / "scan.bvec", np.eye(3))
        return tmp_path

    def run(self, series, *more, out="reg.nii.gz"):
        return main(["register", str(series / "scan.nii.gz"), "--bval", str(series / "scan.bval"), "--out", str(series / out), *map(str, more)])  # fmt: skip

    def test_everything_is_written_beside_the_result(self, series, capsys):
        assert self.run(series, "--bvec", series / "scan.bvec") == 0
        names = {path.name for path in series.iterdir()}
        assert {
            "reg.nii.gz",
            "reg.bval",
            "reg.bvec",
            "reg_transforms.json",
            "reg_displacement.csv",
            "reg_displacement.png",
        } <= names
        image = nib.load(series / "reg.nii.gz")
        assert image.shape == (32, 32, 4, 3) and image.get_data_dtype() == np.float32
        assert np.shape(json.loads((series / "reg_transforms.json").read_text())["matrices"]) == (3, 1, 4, 4)
        assert "kept" in capsys.readouterr().out
        assert self.run(series) == 2  # exists
        assert "--force" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            (["--passes", "3"], "6 to 10"),
            (["--bvec", "missing.bvec"], "missing.bvec"),
            (["--threads", "0"], "--threads"),
        ],
    )
    def test_bad_input_is_one_line(self, series, capsys, more, says):
        assert self.run(series, *more) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("register:")]
        assert len(error) == 1 and says in error[0]
        assert not (series / "reg.nii.gz").exists()


def test_too_few_slices_and_other_bad_images_are_errors():
    good = np.ones((20, 20, 5, 3), np.float32)
    for images, says in (
        (good[:, :, :3], "planar=True"),
        (good[..., :1], "at least 2 images"),
        (good[:8], "16 × 16"),
        (good * np.nan, "NaN"),
    ):
        with pytest.raises(InputError, match=says):
            register_images(images, (1, 1, 1))
