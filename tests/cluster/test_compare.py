"""The smallest possible error on a cluster: the same numbers as here."""

import numpy as np

from ivimsc.compare import bound
from ivimsc.device.launch import choose_device
from tests.conftest import TEN, phantom


def test_the_bound_is_that_of_one_machine(cluster, monkeypatch):
    monkeypatch.setattr(bound, "PIECE", 100)
    monkeypatch.setattr(bound, "DRAWS", 512)
    p = phantom(2400, TEN, 30)
    truth = {"s0": p.S0, "f": p.f, "d": p.D, "dstar": p.Dstar}
    launch = choose_device("cpu")
    here = bound.smallest_error(p.signals, truth, TEN, 1 / 30, True, False, launch)
    launch.cluster = cluster
    there = bound.smallest_error(p.signals, truth, TEN, 1 / 30, True, False, launch)
    np.testing.assert_array_equal(there.noisy, here.noisy)
    np.testing.assert_array_equal(there.noise_free, here.noise_free)
    assert there.ess == here.ess and len(here.tested) == 600
