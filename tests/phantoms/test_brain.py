"""The `brain` phantom: its tissues lie as in a head."""

import numpy as np

from ivimsc.phantoms import make_phantom


def test_from_the_skull_inwards_come_grey_matter_white_matter_and_deep_grey():
    phantom = make_phantom("brain", shape=(64, 64, 5))
    block, codes = phantom.read(0, len(phantom)), {name: code for code, name in phantom.tissue_names.items()}
    places = block.index[:, :2] - block.index[:, :2].mean(axis=0)
    radius = np.hypot(*places.T)

    def median(tissue):
        return np.median(radius[block.tissue == codes[tissue]])

    order = ["thalamus", "basal ganglia", "white matter", "cortical grey matter"]
    assert np.all(np.diff([median(tissue) for tissue in order]) > 1)  # voxels
    for tissue in order:  # the left side has as much of it as the right, to a tenth
        left = np.mean(places[block.tissue == codes[tissue], 0] < 0)
        assert 0.4 < left < 0.6
