"""The coordinates of the general model: curves, priors, and what a scan tells of them."""

import numpy as np

from ivimsc.methods.scdnn.general.canonical import (
    DSTAR,
    D,
    F,
    Projection,
    draw_parameters,
    make_basis,
    signals_of,
)
from tests.conftest import FIVE, equation1, phantom


def test_the_canonical_curves_hold_every_signal():
    basis, p = make_basis(), phantom(300)
    for bvalues in (FIVE, np.linspace(0, 1000, 20)):
        signals = equation1(p.S0, p.f, p.D, p.Dstar, bvalues)
        psi = basis.at(bvalues * 1e-3)
        z = np.linalg.lstsq(psi, signals.T, rcond=None)[0]
        assert np.abs(psi @ z - signals.T).max() < 5e-4  # a tenth of the noise at SNR 200


def test_coordinates_have_unit_second_moment_under_the_prior():
    basis, b = make_basis(), np.linspace(0, 1, 200)
    curves = signals_of(draw_parameters(20_000, np.random.Generator(np.random.Philox(9))), b)
    z = np.linalg.lstsq(basis.at(b), curves.T, rcond=None)[0]
    # 20,000 draws: 1 to 2 %; the last coordinates are seen badly at 200 b-values
    np.testing.assert_allclose((z @ z.T / len(curves))[:5, :5], np.eye(5), atol=0.06)


def test_signals_are_equation_1():
    p = phantom(50)
    parameters = np.stack([p.f, p.D * 1e3, p.Dstar * 1e3], axis=1)
    np.testing.assert_allclose(
        signals_of(parameters, FIVE * 1e-3), equation1(p.S0, p.f, p.D, p.Dstar, FIVE), rtol=1e-12
    )


def test_the_prior_is_uniform_in_f_and_log_uniform_in_the_diffusivities():
    from scipy.stats import kstest

    drawn = draw_parameters(5000, np.random.Generator(np.random.Philox(1)))
    for column, (low, high), scale in zip(drawn.T, (F, D, DSTAR), (np.asarray, np.log, np.log), strict=True):
        low, high = scale(low), scale(high)
        assert kstest((scale(column) - low) / (high - low), "uniform").pvalue > 1e-3  # the seed is fixed


def test_the_error_covariance_of_a_scan_is_that_of_its_estimate():
    basis, b, sigma = make_basis(), FIVE * 1e-3, 0.05
    scan = Projection.of(basis, b, sigma)
    random = np.random.default_rng(1)
    z = random.normal(size=(200_000, 8))
    y = z @ scan.psi.T + sigma * random.normal(size=(len(z), 5))
    error = y @ scan.project.T - z
    logarithm = np.zeros((8, 8))
    logarithm[np.triu_indices(8)] = scan.context
    logarithm = logarithm + np.triu(logarithm, 1).T
    values, vectors = np.linalg.eigh(logarithm)
    # 200,000 draws: entries to about 0.3 %
    np.testing.assert_allclose(error.T @ error / len(z), (vectors * np.exp(values)) @ vectors.T, atol=0.02)
    np.testing.assert_allclose(scan.mix, scan.project @ scan.psi, rtol=1e-12)
