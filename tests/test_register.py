"""Registration: known motion is taken back, b-vectors turn along, real images come to lie on each other."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import affine_transform

from ivimsc.errors import InputError
from ivimsc.register import Registration, files, register_file, register_images, turned
from ivimsc.register.series import Series, _matrix, image_of
from ivimsc.register.stage import _sitk
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


def moved(volume, matrices, zooms, mode="constant"):
    """Every image looked up at M x by cubic splines: independent of ITK."""
    scale = np.diag([*zooms, 1.0])
    out = np.empty_like(volume)
    for k, m in enumerate(matrices):
        in_voxels = np.linalg.inv(scale) @ m @ scale
        out[..., k] = affine_transform(volume[..., k], in_voxels[:3, :3], in_voxels[:3, 3], order=3, mode=mode)
    return out


def mean_shift(m, shape, zooms):
    """Mean distance [mm] that (4, 4) moves the voxels of the volume."""
    points = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1).reshape(-1, 3) * zooms
    return np.linalg.norm(points @ m[:3, :3].T + m[:3, 3] - points, axis=1).mean()


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


ZOOMS = (2.0, 2.5, 5.0)


@pytest.fixture(scope="module")
def found():
    """Three noisy images of which two were moved, by fractions of a voxel and more, and their registration."""
    volume, _ = phantom((32, 32, 6), [0, 100, 400])
    motions = ((0, (0, 0, 0)), (0.04, (3, -1.3, 1)), (-0.03, (-2.2, 2, 0)))
    images = moved(volume, [matrix(angle, shift, (32, 32, 6), ZOOMS) for angle, shift in motions], ZOOMS, "nearest")
    return images, register_images(images, ZOOMS)


class TestResult:
    """What comes back belongs together: images, matrices, distances and the pass that is kept."""

    def test_images_are_cubic_splines_at_the_matrices(self, found):
        images, result = found
        expected = moved(images, result.matrices[:, 0], ZOOMS, "mirror")  # as ITK continues its splines
        known = np.isfinite(result.images)
        assert 0.5 < known.mean() < 1
        # float32 sums: 1e-5 of a signal of 1; linear interpolation is off by 0.02 on noise of SD 0.02
        np.testing.assert_allclose(result.images[known], expected[known], atol=2e-4)

    def test_total_is_the_mean_distance_in_mm(self, found):
        images, result = found
        expected = [mean_shift(m, images.shape[:3], ZOOMS) for m in result.matrices[:, 0]]
        assert max(expected) > 1  # mm
        np.testing.assert_allclose(result.total[result.best], expected, rtol=1e-9)

    def test_the_first_pass_starts_from_the_original(self, found):
        _, result = found
        np.testing.assert_array_equal(result.displacement[0], result.total[0])
        assert np.all(result.displacement[1:].mean(axis=1) < result.displacement[0].mean())

    def test_the_mean_of_the_images_stays_where_it_is(self, found):
        np.testing.assert_allclose(found[1].matrices[:, 0].mean(axis=0), np.eye(4), atol=1e-9)

    def test_planar_matrices_leave_z_alone(self):
        volume, zooms = phantom((24, 24, 2), [0, 100])
        result = register_images(volume, zooms, planar=True)
        assert result.matrices.shape == (2, 2, 4, 4)
        np.testing.assert_array_equal(result.matrices[..., 2, :], np.broadcast_to([0, 0, 1, 0], (2, 2, 4)))
        np.testing.assert_array_equal(result.matrices[..., :2, 2], 0)
        np.testing.assert_allclose(result.matrices.mean(axis=0), np.broadcast_to(np.eye(4), (2, 4, 4)), atol=1e-9)


def blobs(x, y):
    """A picture without any symmetry, at points in mm."""
    spots = ((12, 14, 3, 1.0), (25, 10, 2, 0.7), (20, 27, 4, 0.5), (9, 24, 1.5, 0.9))
    return sum(h * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * w * w)) for u, v, w, h in spots)


def test_a_step_goes_ahead_of_the_transform_so_far():
    """So far: a quarter turn. What is left is found on the grid of the template, and is taken before the turn."""
    sitk = _sitk()
    x, y = np.meshgrid(np.arange(36.0), np.arange(36.0), indexing="ij")
    centre = np.array([17.5, 17.5])
    turn, left = np.eye(3), np.eye(3)
    turn[:2, :2] = [[0, -1], [1, 0]]
    turn[:2, 2] = centre - turn[:2, :2] @ centre
    left[:2, 2] = 2.0, -1.0
    back = np.linalg.inv(turn @ left)
    image = blobs(back[0, 0] * x + back[0, 1] * y + back[0, 2], back[1, 0] * x + back[1, 1] * y + back[1, 2])
    series = Series(sitk, [image_of(sitk, image, (1.0, 1.0))], (36, 36), (1.0, 1.0))
    template = image_of(sitk, blobs(x, y), (1.0, 1.0))
    found = series._register(template, series.images[0], turn)
    # a twentieth of a voxel; the other order would be off by |(2, -1) - (1, 2)| = 3.2 voxels
    corners = np.array([[5, 5, 1], [30, 5, 1], [5, 30, 1], [30, 30, 1.0]]).T
    np.testing.assert_allclose(found @ corners, turn @ left @ corners, atol=0.1)


def test_a_matrix_and_its_transform_of_itk_are_the_same_map():
    sitk = _sitk()
    series = Series(sitk, [], (8, 9, 5), (1.5, 2.0, 4.0))
    m = matrix(0.3, (1, -2, 3), (8, 9, 5), (1.5, 2.0, 4.0))
    m[0, 1] += 0.2
    transform = series._affine(m)
    np.testing.assert_allclose(transform.TransformPoint((3.0, -4.0, 7.0)), (m @ [3, -4, 7, 1])[:3], atol=1e-12)
    np.testing.assert_allclose(_matrix(transform, 3), m, atol=1e-12)


def test_files_hold_the_pass_its_transforms_and_all_distances(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    images, matrices = random.random((3, 4, 2, 2), np.float32), random.normal(size=(2, 1, 4, 4))
    known = Registration(images, matrices, random.random((6, 2)), random.random((6, 2)), 2)
    monkeypatch.setattr(files, "register_images", lambda *_, **__: known)
    affine = np.diag([-2.0, 2, 5, 1])
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 2, 2), np.float32), affine), tmp_path / "a.nii")
    (tmp_path / "a.bval").write_text("0 300")
    register_file(tmp_path / "a.nii", tmp_path / "a.bval", tmp_path / "r.nii.gz")
    np.testing.assert_array_equal(nib.load(tmp_path / "r.nii.gz").get_fdata(), images)
    np.testing.assert_array_equal(nib.load(tmp_path / "r.nii.gz").affine, affine)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "r.bval"), [0, 300])
    told = json.loads((tmp_path / "r_transforms.json").read_text())
    assert told["pass"] == 3 and told["source"] == "a.nii"  # users count from 1
    np.testing.assert_array_equal(told["matrices"], matrices)
    with open(tmp_path / "r_displacement.csv", newline="") as file:
        rows = [list(map(float, row)) for row in list(csv.reader(file))[1:]]
    expected = [
        [p + 1, p == 2, k, (0, 300)[k], known.displacement[p, k], known.total[p, k]] for p in range(6) for k in (0, 1)
    ]
    np.testing.assert_allclose(rows, expected, atol=6e-5)  # four decimals


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


@pytest.mark.parametrize("empty", [0.0, 7.0])
def test_slices_without_contrast_stay_as_they_are(empty):
    """As of a brain that was cut out: one slice of all images, and one of a single image."""
    volume, zooms = phantom((32, 32, 4), [0, 100, 400])
    volume = volume[:, :, 1:4]
    volume[:, :, 2] = empty
    volume[:, :, 0, 1] = empty
    result = register_images(volume, zooms, planar=True)
    np.testing.assert_array_equal(result.images[:, :, 2], empty)
    np.testing.assert_array_equal(result.images[:, :, 0, 1], empty)
    for k, z in ((0, 2), (1, 2), (2, 2), (1, 0)):
        np.testing.assert_array_equal(result.matrices[k, z], np.eye(4))
    assert np.isfinite(result.displacement).all()
    assert "1 slices have no contrast in any image and stay as they are: 2" in result.notes
    assert "1 slices of single images have no contrast and stay where they are" in result.notes


def test_an_image_without_contrast_stays_where_it_is():
    volume, zooms = phantom((24, 24, 6), [0, 100, 400])
    volume[..., 1] = 0
    result = register_images(volume, zooms)
    np.testing.assert_array_equal(result.matrices[1, 0], np.eye(4))
    np.testing.assert_array_equal(result.images[..., 1], 0)
    assert result.notes == ("1 images have no contrast and stay where they are: 1",)


def test_an_image_of_one_bright_voxel_is_no_traceback():
    volume, zooms = phantom((24, 24, 2), [0, 100])
    volume[..., 1] = 0
    volume[5, 6, :, 1] = 1
    assert np.isfinite(register_images(volume, zooms, planar=True).matrices).all()


def test_the_folder_is_made_and_one_that_cannot_be_is_refused_before_the_work(tmp_path, monkeypatch):
    known = Registration(
        np.zeros((3, 4, 2, 2), np.float32), np.zeros((2, 1, 4, 4)), np.zeros((6, 2)), np.zeros((6, 2)), 0
    )
    monkeypatch.setattr(files, "register_images", lambda *_, **__: known)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 2, 2), np.float32), np.eye(4)), tmp_path / "a.nii")
    (tmp_path / "a.bval").write_text("0 300")
    register_file(tmp_path / "a.nii", tmp_path / "a.bval", tmp_path / "new" / "folder" / "r.nii.gz")
    assert (tmp_path / "new" / "folder" / "r.bval").exists()
    monkeypatch.setattr(files, "register_images", lambda *_, **__: pytest.fail("it has begun"))
    with pytest.raises(InputError, match=r"a\.nii"):
        register_file(tmp_path / "a.nii", tmp_path / "a.bval", tmp_path / "a.nii" / "r.nii.gz")


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


def test_too_few_slices_and_other_bad_images_are_errors():
    good = np.ones((20, 20, 5, 3), np.float32)
    for images, says in (
        (good[:, :, :3], "planar"),
        (good[..., :1], "at least 2 images"),
        (good[:8], "16 × 16"),
        (good * np.nan, "NaN"),
    ):
        with pytest.raises(InputError, match=says):
            register_images(images, (1, 1, 1))
