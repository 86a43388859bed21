"""Parts near edges and in small regions, on pictures drawn by hand."""

import numpy as np

from ivimsc.compare.regions import EDGES, SMALL, hard_parts


def parts_of(picture):
    index = np.argwhere(picture > 0)
    found = hard_parts(index, picture.shape, picture[picture > 0].astype(np.uint8))
    volumes = {}
    for name, inside in found.items():
        volumes[name] = np.zeros(picture.shape, bool)
        volumes[name][tuple(index[inside].T)] = True
    return volumes


def test_edges_are_one_voxel_wide_on_each_side():
    picture = np.ones((8, 6, 3), int)
    picture[4:] = 2
    wanted = np.zeros(picture.shape, bool)
    wanted[3:5] = True
    np.testing.assert_array_equal(parts_of(picture)[EDGES], wanted)


def test_the_border_of_the_voxels_is_no_edge():
    picture = np.zeros((6, 6, 3), int)
    picture[1:5, 1:5] = 3
    assert EDGES not in parts_of(picture)


def test_small_regions_have_27_voxels_at_most_and_corners_join():
    picture = np.ones((20, 12, 3), int)
    picture[1:4, 1:4] = 2  # 27 voxels
    picture[8:12, 1:4] = 2  # 36
    picture[15, 5, 0] = picture[16, 6, 1] = 2  # two that touch at a corner
    wanted = np.zeros(picture.shape, bool)
    wanted[1:4, 1:4] = True
    wanted[15, 5, 0] = wanted[16, 6, 1] = True
    np.testing.assert_array_equal(parts_of(picture)[SMALL], wanted)
