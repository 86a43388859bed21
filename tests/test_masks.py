"""Automatic masks: the body of an image whose parts are known, and that of real scans."""

import nibabel as nib
import numpy as np
import pytest

from ivimsc.masks import auto_mask, background_share, otsu_threshold
from ivimsc.nifti import read_series


def scene(noise=10.0):
    """Two large bodies, one of them with a dark hole, a small one, and background: the image and its parts."""
    x, y, z = np.ogrid[:48, :48, :4]
    disk = (x - 16) ** 2 + (y - 24) ** 2 < 12**2 + 0 * z
    hole = (x - 16) ** 2 + (y - 24) ** 2 < 4**2 + 0 * z
    other = (abs(x - 38) < 5) & (abs(y - 24) < 8) & (z >= 0)
    speck = (abs(x - 38) < 2) & (abs(y - 40) < 2) & (z == 1)
    image = np.where(disk & ~hole, 400.0, 0) + np.where(other, 130.0, 0) + np.where(speck, 300.0, 0)
    draw = np.random.default_rng(0)
    image = np.hypot(image + draw.normal(0, noise, image.shape), draw.normal(0, noise, image.shape))
    return image, disk, other, speck


def test_large_pieces_are_the_body_and_holes_are_filled():
    image, disk, other, speck = scene()
    mask = auto_mask(image)
    assert mask[disk].mean() > 0.98 and mask[other].mean() > 0.9  # a median over three by three rounds corners off
    assert not mask[speck].any()
    assert mask[~(disk | other)].mean() < 0.02
    inside = (np.indices(mask.shape)[0] - 16) ** 2 + (np.indices(mask.shape)[1] - 24) ** 2 < 4**2
    assert mask[inside].all()


def test_the_unit_does_not_matter_and_values_that_are_not_finite_are_dark():
    image, *_ = scene()
    np.testing.assert_array_equal(auto_mask(image * 1e-6), auto_mask(image))
    image[40:, 40:] = np.nan
    image[0, 0] = np.inf
    mask = auto_mask(image)
    assert not mask[40:, 40:].any() and not mask[0, 0].any() and mask.any()


def test_the_edge_of_the_image_is_no_background():
    image = np.full((20, 20, 1), 100.0)
    image[:, :8] = 1
    mask = auto_mask(image)
    np.testing.assert_array_equal(mask[:, :, 0], np.arange(20)[None] >= np.full((20, 1), 8))


def test_padding_tells_nothing():
    """Zeros around an image, as many as one likes, move no threshold."""
    image, *_ = scene()
    padded = np.pad(image, ((40, 40), (40, 40), (0, 0)))
    assert otsu_threshold(padded) == otsu_threshold(image)
    np.testing.assert_array_equal(auto_mask(padded)[40:-40, 40:-40], auto_mask(image))


@pytest.mark.parametrize(("value", "inside"), [(0.0, False), (np.nan, False), (5.0, True)])
def test_one_value(value, inside):
    values = np.full(9, value)
    assert otsu_threshold(values) == 0 and background_share(values) == 1 - inside
    assert (auto_mask(values.reshape(3, 3, 1)) == inside).all()


def test_no_voxel():
    assert otsu_threshold(np.zeros(0)) == 0 and background_share(np.zeros(0)) == 0


def test_an_image_that_another_program_masked_stays_as_it_is():
    """The darkest tissue is a third as bright as the brightest: the zeros around are the background."""
    image = np.zeros((30, 30, 2))
    image[5:25, 5:15], image[5:25, 15:25] = 300, 100
    np.testing.assert_array_equal(auto_mask(image)[6:24, 6:24], True)  # the median rounds the corners
    assert not auto_mask(image)[image == 0].any()


def test_the_threshold_is_where_the_variance_between_the_classes_is_largest():
    values = np.random.default_rng(1).choice([1.0, 8.0, 27.0, 1000.0, 729.0], 500)
    roots = values ** (1 / 6)

    def between(t):
        dark = values <= t
        return dark.mean() * (1 - dark.mean()) * (roots[dark].mean() - roots[~dark].mean()) ** 2

    best = max((1.0, 8.0, 27.0, 729.0), key=between)
    assert (values > otsu_threshold(values)).sum() == (values > best).sum()


@pytest.mark.parametrize(("bright", "share"), [(100.0, 0.75), (20.0, 0.0)])
def test_background_is_much_darker_than_the_body(bright, share):
    assert background_share(np.repeat([10.0, bright], [75, 25])) == share


@pytest.mark.parametrize(
    ("series", "mask", "least", "most"),
    [
        ("froeling_muscle_legs/dwi_avg", "labels", 0.995, 0.12),
        ("levy_spinalcord_7T/dwi_AP_native", "mask_cord_dilated", 0.99, 0.45),
        ("levy_spinalcord_7T/dwi_RL_registered", "mask_cord_dilated", 0.99, 0.45),
        ("wetscherek_abdomen_vol3/dwi_all300", "mask", 0.95, 0.3),
        ("wetscherek_abdomen_vol3/dwi_avg_bip_T70", "mask", 0.95, 0.3),
    ],
)
def test_real_scans(real_data, series, mask, least, most):
    """The regions that others drew are inside (the shares that a look at the masks found good), and air is not."""
    path = real_data / f"{series}.nii.gz"
    voxels = read_series(path, path.with_name(path.name.replace(".nii.gz", ".bval")), mask="auto")
    drawn = np.asarray(nib.load(path.with_name(f"{mask}.nii.gz")).dataobj).reshape(voxels.geometry.shape) > 0
    found = np.zeros(drawn.shape, bool)
    found[tuple(voxels.index.T)] = True
    assert found[drawn].mean() >= least and found.mean() <= most


@pytest.mark.parametrize("name", ["flow", "static"])
def test_real_phantoms(real_data, name):
    """The bottle and the bright middle of the pipe (its region was drawn far into the air)."""
    path = real_data / f"wetscherek_phantom_{name}" / "dwi_avg_bip_T70.nii.gz"
    voxels = read_series(path, path.with_name("dwi_avg_bip_T70.bval"), mask="auto")
    rois = np.asarray(nib.load(path.with_name("rois.nii.gz")).dataobj).reshape(voxels.geometry.shape)
    found = np.zeros(rois.shape, bool)
    found[tuple(voxels.index.T)] = True
    assert found[rois == 1].all() and 0.5 < found[rois == 2].mean() < 0.8 and found.mean() < 0.2
