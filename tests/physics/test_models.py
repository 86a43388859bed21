"""The signal models against one another, against equation (1), and their slopes against differences."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.models import MODELS, find_model, mixture_signals, predicted
from tests.conftest import equation1

B = np.array([0, 10, 50, 200, 400, 800, 1500.0])
TRUTH = {"s0": np.array([1.0, 50.0]), "f": np.array([0.1, 0.3]), "d": np.array([1e-3, 2e-3]), "dstar": np.array([0.02, 0.05]),
         "k": np.array([0.7, 0.9]), "f2": np.array([0.1, 0.05]), "dstar2": np.array([0.2, 0.4])}  # fmt: skip


def test_the_models_are_one_another_at_their_limits():
    biexp = MODELS["biexp"].signals(TRUTH, B)
    np.testing.assert_allclose(biexp, equation1(*(TRUTH[key] for key in ("s0", "f", "d", "dstar")), B))
    np.testing.assert_allclose(MODELS["kurtosis"].signals(TRUTH | {"k": np.zeros(2)}, B), biexp)
    np.testing.assert_allclose(MODELS["triexp"].signals(TRUTH | {"f2": np.zeros(2)}, B), biexp)
    np.testing.assert_allclose(MODELS["mono"].signals(TRUTH, B), MODELS["biexp"].signals(TRUTH | {"f": np.zeros(2)}, B))


def test_the_exponent_of_the_kurtosis_does_not_turn_up():
    """D K b = 3 at b = 1000 s/mm²: from there on the tissue keeps exp(-3 / (2 K))."""
    b = np.array([0, 500, 1000, 1200, 3000.0])
    y = MODELS["kurtosis"].signals({"s0": 1.0, "f": 0.0, "d": 2e-3, "dstar": 0.1, "k": 1.5}, b)
    np.testing.assert_allclose(y[2:], np.exp(-1.0), rtol=1e-12)
    assert y[1] == pytest.approx(np.exp(-1 + 0.25 * 4 * 1.5 / 6))


@pytest.mark.parametrize("name", MODELS)
def test_slopes_are_differences(name):
    model = MODELS[name]
    values = {key: TRUTH[key] for key in model.keys}
    slopes = model.slopes_of(*(values[key][:, None] for key in model.keys), B)[1]
    for key, slope in zip(model.keys, slopes, strict=True):
        step = 1e-6 * values[key]
        up, down = (
            model.signals(values | {key: values[key] + step}, B),
            model.signals(values | {key: values[key] - step}, B),
        )
        np.testing.assert_allclose(
            np.broadcast_to(slope, up.shape), (up - down) / (2 * step[:, None]), rtol=1e-5, atol=1e-5
        )


def test_the_bound_of_two_pools_is_that_of_equation_1():
    expected = cramer_rao(*(TRUTH[key] for key in ("s0", "f", "d", "dstar")), B, 0.02)
    found = MODELS["biexp"].bound(TRUTH, B, 0.02)
    np.testing.assert_allclose(np.stack(list(found.values()), axis=1), expected, rtol=1e-9)
    fixed = MODELS["biexp"].bound(TRUTH, B, 0.02, known=("dstar",))
    assert "dstar" not in fixed and np.all(fixed["f"] < found["f"])
    four = MODELS["biexp"].bound(TRUTH, B, 0.02, weights=np.full(7, 4.0))
    np.testing.assert_allclose(four["d"], found["d"] / 2)


def test_mixture_signals_are_those_of_each_model():
    nan = np.full(2, np.nan)
    np.testing.assert_allclose(
        mixture_signals(TRUTH | {"f2": nan, "dstar2": nan}, B), MODELS["kurtosis"].signals(TRUTH, B)
    )
    np.testing.assert_allclose(mixture_signals(TRUTH | {"k": nan}, B), MODELS["triexp"].signals(TRUTH, B))
    np.testing.assert_allclose(
        mixture_signals({key: TRUTH[key] for key in ("s0", "d")}, B), MODELS["mono"].signals(TRUTH, B)
    )


def test_an_unknown_model_is_told_in_one_line():
    with pytest.raises(InputError, match=r"model: found 'quad', expected one of mono, biexp, kurtosis, triexp"):
        find_model("quad")


def closed_form(method, S0, f, D, Dstar, K, f2, Dstar2):
    """The curve (b,) of one voxel, written out."""
    slow, middle, fast = np.exp(-B * D), np.exp(-B * Dstar), np.exp(-B * Dstar2)
    if method == "simplified":
        return np.where(B == 0, S0, S0 * (1 - f) * slow)
    bent = np.exp(-B * D + (B * D) ** 2 * K / 6)
    return {"adc": S0 * slow, "nlls": S0 * ((1 - f) * slow + f * middle), "kurtosis": S0 * ((1 - f) * bent + f * middle),
            "triexp": S0 * ((1 - f - f2) * slow + f * middle + f2 * fast)}[method]  # fmt: skip


FIELDS = {"adc": "s0 d", "simplified": "s0 f d", "nlls": "s0 f d dstar", "kurtosis": "s0 f d dstar k", "triexp": "s0 f d dstar f2 dstar2"}  # fmt: skip


@pytest.mark.parametrize("method", FIELDS)
@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_predicted_curves_are_those_of_each_methods_own_model(method, precision):
    """At D K b < 3; float32 has 7 digits, of which the exponent of the largest b leaves 5."""
    truth = TRUTH | {"k": np.array([0.7, 0.9])}
    fields = {key: truth[key].astype(precision) for key in FIELDS[method].split()} | {"rmse": np.ones(2)}
    expected = [closed_form(method, *(truth[key][v] for key in ("s0", "f", "d", "dstar", "k", "f2", "dstar2"))) for v in range(2)]  # fmt: skip
    found = predicted(fields, B.astype(precision))
    assert found.dtype == precision
    np.testing.assert_allclose(found, expected, rtol=1e-12 if precision is np.float64 else 2e-5)


@pytest.mark.parametrize("precision", [np.float64, np.float32])
def test_predicted_curves_of_an_empty_part_need_no_rate(precision):
    fields = {"s0": [2.0, 2.0, np.nan], "f": [0.0, 1.0, np.nan], "d": [1e-3, np.nan, np.nan], "dstar": [np.nan, 50e-3, np.nan]}  # fmt: skip
    fields = {key: np.array(values, precision) for key, values in fields.items()}
    expected = 2 * np.exp(-np.outer([1e-3, 50e-3, np.nan], B))
    np.testing.assert_allclose(predicted(fields, B.astype(precision)), expected, rtol=1e-5)
    third = {"f2": np.zeros(3, precision), "dstar2": np.full(3, np.nan, precision)}
    np.testing.assert_allclose(predicted(fields | third, B.astype(precision)), expected, rtol=1e-5)
