"""Every warning holds for its data, and none is given without cause."""

from types import SimpleNamespace

import numpy as np
import pytest

from ivimsc.fit.noise import NoiseLevel
from ivimsc.outcome import Outcome
from ivimsc.report.cautions import cautions_of
from ivimsc.report.volumes import VolumeResiduals
from tests.conftest import TEN

GOOD = NoiseLevel(0.02, 50.0, 100, 0.02)


def told(bvalues=TEN, noise=GOOD, counts=None, moved=None, last=1.0, version="1", mono=False, used=None):
    store = SimpleNamespace(bvalues=np.asarray(bvalues if used is None else used, float), version=version)
    fits = [SimpleNamespace(name="nlls", mono=mono, store=store)]
    signals = np.full((100, len(bvalues)), last, np.float32)
    sources = SimpleNamespace(fits=fits, bvalues=np.asarray(bvalues, float), signals=signals)
    return " ".join(cautions_of(sources, noise, {"nlls": counts or {Outcome.CONVERGED: 100}}, moved))


def moved(size):
    n = len(size)
    odd = np.array(size) > 1.5
    return VolumeResiduals(
        "nlls", np.arange(n), np.full(n, 50.0), np.array(size), np.zeros(n), np.ones(n), odd, "noise SD"
    )


def test_good_data_are_not_warned_of():
    assert told(moved=moved([1.0, 1.1, 0.9])) == ""


@pytest.mark.parametrize(
    "case, says",
    [
        ({"bvalues": [0, 50, 200, 400, 800]}, "1 b-values between 1 and 100"),
        ({"bvalues": [0, 10, 20, 50, 200]}, "0 b-values above 200"),
        ({"bvalues": [20, 30, 40, 50, 300, 500]}, "the smallest b-value is 20"),
        ({"noise": NoiseLevel(0.2, 5.0, 100, 0.2)}, "Low SNR: 5 at b = 0"),
        ({"last": 0.05}, "Noise floor: at b = 500 s/mm² the signal of 100 %"),
        ({"noise": None}, "The noise level is not known"),
        ({"moved": moved([1, 1, 2.5, 1])}, "1 of 4 images are farther from the fitted curve than others of their b-value: image 2 (b = 50, 2.5 times)"),
        ({"counts": {Outcome.CONVERGED: 80, Outcome.DSTAR_UNIDENTIFIABLE: 20}}, "Outcome 4, D* not identifiable"),
        ({"counts": {Outcome.CONVERGED: 90, Outcome.MISFIT: 10}}, "10 % (nlls) of the voxels; there the standard errors are not valid"),
    ],
)  # fmt: skip
def test_what_holds_is_told(case, says):
    assert says in told(**case)


def test_a_single_exponential_needs_no_low_bvalues():
    assert told(bvalues=[0, 200, 400, 800], mono=True) == ""
    assert told(counts={Outcome.CONVERGED: 97, Outcome.MISFIT: 3}) == ""
