"""A made-up tissue, requests on a coarse grid, and the launch of these tests."""

import numpy as np

from ivimsc.device.launch import choose_device
from ivimsc.phantoms.literature import Tissue
from ivimsc.planning.request import Request

TISSUE = Tissue("made up", (1, 0.05), (0.2, 0.05), (1.2e-3, 0.2e-3), (40e-3, 12e-3))
OTHER = Tissue("another", (1, 0.05), (0.1, 0.03), (2.0e-3, 0.15e-3), (20e-3, 5e-3))
LAUNCH = choose_device("cpu", 1)


def ask(tissue=TISSUE, **settings):
    return Request(tissue, **{"volumes": 6, "bmax": 800.0, "step": 100.0, **settings})


def counts_of(bvalues, images):
    """Images (candidate,) on the grid `bvalues`."""
    counts = np.zeros(len(bvalues))
    for b in images:
        counts[int(np.argmin(np.abs(bvalues - b)))] += 1
    return counts
