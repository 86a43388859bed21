"""What is asked for: tissues by name, grids, and bad input in one line."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.phantoms.literature import tissues
from ivimsc.planning.prior import draws_of, find_tissues, moments_of
from ivimsc.planning.request import Request
from tests.planning.makers import TISSUE, ask


def test_names_and_records_are_tissues():
    liver = tissues("abdomen")["liver"]
    assert find_tissues("liver, kidney cortex") == (liver, tissues("abdomen")["kidney cortex"])
    assert find_tissues(["liver", TISSUE]) == (liver, TISSUE) and find_tissues(TISSUE) == (TISSUE,)


def test_draws_have_the_tissue_s_moments():
    """Log-normal about the mean; the SD is 1 % to 3 % smaller as the phantoms cut at 2.5 SDs."""
    mean, sd = moments_of(TISSUE)
    np.testing.assert_allclose(mean, [0.2, 1.2e-3, 40e-3], rtol=0.01)
    np.testing.assert_allclose(sd, [0.05, 0.2e-3, 12e-3], rtol=0.05)
    np.testing.assert_allclose(moments_of(TISSUE, 2.0)[1] / sd, 2, rtol=0.06)
    values = draws_of(TISSUE, 4096, 3)
    assert abs(np.corrcoef(values)[np.triu_indices(3, 1)]).max() < 0.03


def test_candidates():
    np.testing.assert_array_equal(ask(step=100.0).candidates, np.arange(0, 900, 100))
    np.testing.assert_array_equal(ask(step=110.0, bmax=500).candidates, [0, 110, 220, 330, 440, 500])
    np.testing.assert_array_equal(ask(fixed=(33.0,), step=200.0, bmax=800).candidates, [0, 33, 200, 400, 600, 800])
    np.testing.assert_array_equal(ask(among=(300, 0, 20, 50, 1000), fixed=(500,)).candidates, [0, 20, 50, 300, 500])


@pytest.mark.parametrize(("settings", "says"), [
    ({"tissue": "livre"}, "tissue: found 'livre', expected some of placenta core, placenta rim, "),
    ({"tissue": "liver,liver"}, "tissue: found 'liver' twice, expected distinct tissues"),
    ({"tissue": []}, "tissue: found none, expected some of "),
    ({"snr": 0.0}, "snr: found 0, expected a number > 0"),
    ({"snr": float("nan")}, "snr: found nan, expected a number > 0"),
    ({"volumes": 3}, "volumes: found 3, expected at least 4 images, one for each of S0, f, D and D*"),
    ({"volumes": 2, "s0_known": True}, "volumes: found 2, expected at least 3 images, one for each of f, D and D*"),
    ({"volumes": 6.5}, "volumes: found 6.5, expected a whole number"),
    ({"volumes": 100000}, "volumes: found 100000, expected at most 512 images"),
    ({"bmax": 150.0}, "bmax: found 150, expected 200 to 5000 s/mm²"),
    ({"criterion": "d-optimal"}, "criterion: found d-optimal, expected posterior or cramer-rao"),
    ({"weights": (1, 1)}, "weights: found 1, 1, expected three numbers >= 0"),
    ({"weights": (0, 0, 0)}, "weights: found 0, 0, 0, expected three numbers >= 0"),
    ({"step": 0.0}, "step: found 0, expected 0.08 to 200 s/mm²"),
    ({"fixed": (900.0,)}, "fixed: found 900, expected at most bmax, 800 s/mm²"),
    ({"fixed": (-1.0,)}, "fixed: "),
    ({"fixed": (0.0,) * 6}, "fixed: found 6 of 6 images with 1 distinct b-values"),
    ({"fixed": (0.0,) * 7}, "fixed: found 7 b-values, expected at most 6, the number of images"),
    ({"among": (0.0, 100.0, 900.0)}, "among: found 2 distinct b-values up to 800 s/mm², expected at least 5"),
    ({"distinct": 9}, "distinct: found 9, expected 4 to 6, the number of images"),
    ({"distinct": 3}, "distinct: found 3, expected 4 to 6, the number of images"),
    ({"spread": 0.0}, "spread: found 0, expected 0.1 to 10"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(settings, says):
    with pytest.raises(InputError) as error:
        Request(**{"tissue": TISSUE, "volumes": 6, **settings})
    assert str(error.value).startswith(says) and "\n" not in str(error.value)
