"""The formulas of variable projection in float64, against numpy and scipy."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar, nnls

from ivimsc.numerics import variable_projection as vp
from ivimsc.numerics.ending import Box
from tests.conftest import TEN

B = TEN * 1e-3  # ms/µm²


def noisy_signal(seed):
    random = np.random.default_rng(seed)
    f, d, p = random.uniform(0.1, 0.5), random.uniform(0.5, 2.5), random.uniform(10, 100)
    return (1 - f) * np.exp(-B * d) + f * np.exp(-B * p) + random.normal(0, 0.03, len(B))


def columns(d, p):
    return np.stack([np.exp(-B * d), np.exp(-B * p)], axis=1)


def half_cost(y, d, log_p):
    """½ Σ r² with the best amplitudes of both signs."""
    x = columns(d, np.exp(log_p))
    return 0.5 * np.sum((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2)


def sums_at(y, d, p):
    products = vp.Products(*np.zeros(len(vp.Products._fields)))
    for y_i, b, (e1, e2) in zip(y, B, columns(d, p), strict=True):
        products = vp.add_products.py_func(products, y_i, e1, e2, b)
    return products


def gram(products):
    return products.g11, products.g12, products.g22, products.y1, products.y2


@pytest.mark.parametrize("seed", range(4))
def test_gradient_and_hessian_are_those_of_finite_differences(seed):
    y, d, p = noisy_signal(seed), 1.1, 25.0
    products = sums_at(y, d, p)
    (a, c), inverse = np.linalg.lstsq(columns(d, p), y, rcond=None)[0], np.linalg.inv(columns(d, p).T @ columns(d, p))
    amplitudes = vp.Amplitudes(a, c, inverse[0, 0], inverse[0, 1], inverse[1, 1])
    left = vp.Residuals(*np.zeros(len(vp.Residuals._fields)))
    for y_i, b, (e1, e2) in zip(y, B, columns(d, p), strict=True):
        left = vp.add_residual.py_func(left, a, c, y_i, e1, e2, b)
    s = vp.slopes.py_func(p, amplitudes, products, left)
    h, q = 1e-3, np.log(p)
    at = {(i, j): half_cost(y, d + i * h, q + j * h) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    middle = at[0, 0]
    assert left.rr == pytest.approx(2 * middle, rel=1e-10)
    expected = [
        (at[1, 0] - at[-1, 0]) / (2 * h),
        (at[0, 1] - at[0, -1]) / (2 * h),
        (at[1, 0] - 2 * middle + at[-1, 0]) / h**2,
        (at[1, 1] - at[1, -1] - at[-1, 1] + at[-1, -1]) / (4 * h**2),
        (at[0, 1] - 2 * middle + at[0, -1]) / h**2,
    ]
    scale = max(map(abs, expected))
    np.testing.assert_allclose(s[:5], expected, rtol=1e-4, atol=1e-6 * scale)  # differences leave h² of the value


@pytest.mark.parametrize("f_bounds", [(0.0, 1.0), (0.3, 0.4), (0.0, 0.1)])
@pytest.mark.parametrize("seed", range(4))
def test_amplitudes_are_the_best_of_the_cone(seed, f_bounds):
    y, d, p = noisy_signal(seed), 1.1, 25.0
    edges = np.array([[1 - f, f] for f in f_bounds]).T  # the cone is what these two directions span
    weights, _ = nnls(columns(d, p) @ edges, y)
    best = vp.best_amplitudes.py_func(*gram(sums_at(y, d, p)), *f_bounds)
    np.testing.assert_allclose((best.a, best.c), edges @ weights, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("f_bounds", [(0.0, 1.0), (0.3, 0.4), (0.0, 0.1)])
@pytest.mark.parametrize("seed", range(4))
def test_the_fraction_is_the_best_where_s0_is_known(seed, f_bounds):
    y, d, p, s0 = noisy_signal(seed), 1.1, 25.0, 1.02
    x = columns(d, p)
    scipys = minimize_scalar(lambda f: np.sum((y - s0 * x @ (1 - f, f)) ** 2), bounds=f_bounds, method="bounded", options={"xatol": 1e-10})  # fmt: skip
    best = vp.best_fraction.py_func(*gram(sums_at(y, d, p)), s0, *f_bounds)
    assert best.a + best.c == pytest.approx(s0) and best.c / s0 == pytest.approx(scipys.x, abs=1e-5)


def test_a_step_at_a_bound_stays_there_and_a_small_promise_ends_the_search():
    box = Box(0.0, 1.0, 0.0, 5.0, 5.0, 200.0)
    outwards = vp.Slopes(1.0, 0.5, 2.0, 0.0, 2.0, 2.0, 2.0)  # decreasing D and D* is downhill
    d, p, done = vp.newton_step.py_func(0.0, 20.0, outwards, 0.0, 0.0, box)
    assert d == 0 and p == pytest.approx(20 * np.exp(-0.25), rel=1e-5) and not done
    promised = 0.5 * 0.5 * 0.25  # ½ g H⁻¹ g of D* alone
    assert vp.newton_step.py_func(0.0, 20.0, outwards, 0.0, promised * 1.01, box)[2]
    assert not vp.newton_step.py_func(0.0, 20.0, outwards, 0.0, promised * 0.99, box)[2]
