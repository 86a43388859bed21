"""The fit of three pools against scipy from many starts, against its own scatter and the bound, and at its edges."""

import numpy as np
import pytest
from scipy.optimize import minimize, nnls

from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.phantoms.literature import three_pools
from ivimsc.physics.models import MODELS
from tests.conftest import run_method

B = np.array([0, 5, 10, 20, 40, 80, 120, 200, 350, 500, 700, 900.0])
MODEL = MODELS["triexp"]


def voxels(n, snr, seed=0):
    """Signals (voxel, b) with Gaussian noise, and their truth."""
    random = np.random.default_rng(seed)
    truth = {"s0": np.ones(n), "f": random.uniform(0.05, 0.25, n), "d": random.uniform(0.8e-3, 2.4e-3, n),
             "dstar": random.uniform(10e-3, 50e-3, n), "f2": random.uniform(0.05, 0.25, n), "dstar2": random.uniform(0.1, 0.5, n)}  # fmt: skip
    clean = MODEL.signals(truth, B)
    return (clean + random.normal(0, 1 / snr, clean.shape)).astype(np.float32), truth


def test_hardly_a_start_of_scipy_finds_a_better_optimum():
    """25 voxels, 6 starts each: amplitudes by scipy's nnls, diffusivities by Nelder and Mead. Of 20,000 voxels the search
    misses 1 to 2 in a thousand; so one of 25 may be missed here."""
    y, _ = voxels(25, 50, seed=4)
    e, random = run_method("triexp", y, B), np.random.default_rng(0)
    low, high = np.array([0, np.log(5), np.log(70)]), np.array([5, np.log(70), np.log(1000)])

    def cost(x, signal):
        d, p, g = np.clip(x, low, high)
        return nnls(np.exp(-np.outer(B * 1e-3, [d, np.exp(p), np.exp(g)])), signal)[1] ** 2

    missed = 0
    for v, signal in enumerate(y.astype(float)):
        costs = [
            minimize(cost, low + (high - low) * random.uniform(size=3), (signal,), "Nelder-Mead",
                     options={"xatol": 1e-6, "fatol": 1e-12, "maxiter": 800}).fun
            for _ in range(6)
        ]  # fmt: skip
        missed += len(B) * float(e.rmse[v]) ** 2 > min(costs) * (1 + 1e-4)
    assert missed <= 1


def test_standard_errors_are_the_bound_and_tell_the_scatter():
    """2,000 draws of one voxel at SNR 1000, where the bound, which is of the first order, holds."""
    truth = {"s0": 1.0, "f": 0.2, "d": 1.5e-3, "dstar": 20e-3, "f2": 0.15, "dstar2": 0.3}
    y = MODEL.signals(truth, B) + np.random.default_rng(1).normal(0, 0.001, (2000, len(B)))
    e = run_method("triexp", y, B, sigma=0.001)
    bound = MODEL.bound({key: np.array([value]) for key, value in truth.items()}, B, 0.001)
    for key, error, values in (("f", e.fstd, e.f), ("d", e.dstd, e.D), ("dstar", e.dstarstd, e.Dstar), ("f2", e.f2std, e.f2),
                               ("dstar2", e.dstar2std, e.Dstar2)):  # fmt: skip
        assert np.median(error) == pytest.approx(bound[key][0], rel=0.05), key
        assert np.std(values) == pytest.approx(bound[key][0], rel=0.15), key
    assert np.mean(e.outcome == Outcome.CONVERGED) > 0.99


def test_fractions_are_shares_and_pools_are_in_order():
    y, _ = voxels(2000, 20, seed=2)
    e = run_method("triexp", y, B)
    assert np.all((e.f >= 0) & (e.f2 >= 0) & (e.f + e.f2 <= 1 + 1e-6))
    assert np.all((e.D <= e.Dstar) & (e.Dstar <= e.Dstar2))


def test_two_pools_leave_the_third_unidentifiable():
    y = 0.8 * np.exp(-B * 1e-3) + 0.2 * np.exp(-B * 0.03) + np.random.default_rng(0).normal(0, 0.01, (300, len(B)))
    e = run_method("triexp", y, B)
    assert np.mean(np.isin(e.outcome, (Outcome.DSTAR_UNIDENTIFIABLE, Outcome.AT_BOUND))) > 0.9


def test_an_organ_gives_the_bounds_of_the_literature():
    assert set(three_pools()) == {"liver", "kidney-cortex", "kidney-medulla"}
    y = MODEL.signals({"s0": 1.0, "f": 0.2, "d": 1.57e-3, "dstar": 5.23e-3, "f2": 0.1, "dstar2": 0.168}, B)[None]
    assert run_method("triexp", y, B, organ="kidney-medulla").Dstar[0] == pytest.approx(5.23e-3, rel=0.05)


@pytest.mark.parametrize(("b", "options", "says"), [
    ((0, 200, 300, 500, 700, 900), {}, "triexp: found 1 b-values below 200 s/mm² and 5 from there on"),
    ((0, 10, 500), {}, "triexp: found 3 distinct b-values (0, 10, 500 s/mm²), expected at least 6"),
    (B, {"organ": "heart"}, "option organ of triexp: found 'heart', expected one of liver, kidney-cortex, kidney-medulla, or none"),
    (B, {"dstar2_bounds": (0.05, 0.5)}, "expected bounds that do not overlap"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(b, options, says):
    with pytest.raises(InputError) as error:
        run_method("triexp", np.ones((1, len(b))), np.array(b, float), **options)
    assert says in str(error.value) and "\n" not in str(error.value)
