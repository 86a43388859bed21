"""``ivimsc repeat`` on the command line."""

import numpy as np
import pytest

from ivimsc.store import write_voxels
from tests.conftest import TEN, as_voxels, phantom


@pytest.fixture
def fits(ivimsc, tmp_path):
    """Two fits of one phantom with other noise."""
    for seed in (1, 2):
        truth = phantom(400, TEN, None, 0).signals
        noise = np.random.default_rng(seed).normal(0, 0.02, truth.shape)
        write_voxels(tmp_path / f"s{seed}.h5", as_voxels(truth + noise, TEN))
        assert ivimsc("fit", tmp_path / f"s{seed}.h5", "--out", tmp_path, "--no-maps") == 0
    return [tmp_path / "s1_nlls.h5", tmp_path / "s2_nlls.h5"]


def test_two_scans(ivimsc, fits, tmp_path):
    assert ivimsc("repeat", *fits, "--out", tmp_path / "out") == 0
    assert "400 of 400" in ivimsc.out and "ICC(2,1)" in ivimsc.out and "× " in ivimsc.out
    assert f"written: {tmp_path / 'out' / 's1_nlls_repeat.csv'}" in ivimsc.out
    assert ivimsc("repeat", *fits, "--out", tmp_path / "out") == 2 and "--force" in ivimsc.error
    assert ivimsc("repeat", *fits, "--out", tmp_path / "out", "--force") == 0


def test_bad_usage(refused, fits, tmp_path):
    refused("repeat", says="--table: found None and 0 estimate stores")
    refused("repeat", fits[0], says="found 1 estimate store, expected two repeats at least")
    refused("repeat", *fits, tmp_path / "none.h5", says="no such file")
    refused(
        "repeat", *fits, "--labels", fits[0], "--labels", fits[0], "--labels", fits[0], says="--labels: found 3 files"
    )
    refused("repeat", *fits, "--table", fits[0], says="--table: found")
