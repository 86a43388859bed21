"""The criterion "cramer-rao" and its best shares: the optimum that another program documents, and a convex certificate."""

import numpy as np
import pytest
from scipy.optimize import minimize

from ivimsc.phantoms.literature import Tissue
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.planning.bound import BoundError
from tests.planning.makers import OTHER, TISSUE, ask, counts_of

BLOOD = 1.75e-3  # mm²/s: ivim-mri adds the diffusion of blood to D*
# The example in the docstring of ivim.optimize.crlb, ivim-mri 1.0 (github.com/oscarjalnefjord/ivim): D 1.0 and 1.1, f 0.10 and
# 0.15, D* 20 and 20 µm²/ms, b up to 800 s/mm²
DOCUMENTED_B = [0.0, 39.3715187, 199.80682516, 800.0]
DOCUMENTED_SHARES = [0.15952579, 0.30527184, 0.35411006, 0.18109231]


def test_the_documented_optimum_of_ivim_mri():
    """b to half a step of the grid of 0.2 s/mm²; shares to 2e-3, as theirs come from a local search with finite differences."""
    tissues = [Tissue(name, (1, 0.1), (f, 0.01), (D, 1e-4), (20e-3 + BLOOD, 1e-3)) for name, f, D in
               (("first", 0.10, 1.0e-3), ("second", 0.15, 1.1e-3))]  # fmt: skip
    # Theirs are relative to D* without the blood's D
    request = ask(tissues, step=0.2, weights=(1, 1, (20e-3 + BLOOD) / 20e-3), criterion="cramer-rao", volumes=100)
    bound = BoundError(request, request.candidates)
    found = bound.optimum(np.ones(len(request.candidates), bool), np.zeros(len(request.candidates)))
    np.testing.assert_allclose(found.bvalues, DOCUMENTED_B, atol=0.11)
    np.testing.assert_allclose(found.shares, DOCUMENTED_SHARES, atol=2e-3)
    assert found.proof < 1e-5
    theirs = counts_of(request.candidates, []) + 0
    for b, share in zip(DOCUMENTED_B, DOCUMENTED_SHARES, strict=True):
        theirs += 100 * share * counts_of(request.candidates, [b])
    assert found.value <= bound.values(theirs[None])[0] * (1 + 1e-9)


@pytest.mark.parametrize("s0_known", [False, True])
def test_deviations_are_the_cramer_rao_bound_of_every_image(s0_known):
    request = ask([TISSUE, OTHER], snr=25.0, s0_known=s0_known)
    bound, images = BoundError(request, request.candidates), [0, 0, 100, 300, 300, 800]
    found = bound.deviations(counts_of(request.candidates, images)[None])[0]
    for row, tissue in zip(found, (TISSUE, OTHER), strict=True):
        expected = cramer_rao(1.0, tissue.f[0], tissue.D[0], tissue.Dstar[0], images, 1 / 25, s0_known)[0, 1:]
        np.testing.assert_allclose(row, expected, rtol=1e-9)  # the same formula, summed in another order


def test_the_criterion_is_the_weighted_mean_of_relative_deviations():
    request = ask([TISSUE, OTHER], weights=(3, 1, 0))
    bound, counts = BoundError(request, request.candidates), counts_of(ask().candidates, [0, 100, 200, 300, 600, 800])
    deviations = bound.deviations(counts[None])[0]
    means = np.array([[t.f[0], t.D[0]] for t in (TISSUE, OTHER)])
    expected = np.mean((deviations[:, :2] / means) @ [0.75, 0.25])
    assert bound.values(counts[None])[0] == pytest.approx(expected, rel=1e-12)


def test_protocols_that_cannot_tell_the_parameters_are_the_worst():
    request = ask()
    values = BoundError(request, request.candidates).values(
        np.stack(
            [
                counts_of(request.candidates, images)
                for images in ([0, 0, 100, 100, 800, 800], [0, 100, 200, 400, 600, 800])
            ]
        )
    )
    assert np.isfinite(values).all() and values[0] > 1e6 * values[1]


@pytest.mark.parametrize("s0_known", [False, True])
def test_the_optimum_is_that_of_a_general_optimiser(s0_known):
    """SLSQP over the shares of all nine b-values: the problem is convex, so both must end at one value, to 1e-5."""
    request = ask(s0_known=s0_known)
    bound = BoundError(request, request.candidates)
    n = len(request.candidates)
    found = bound.optimum(np.ones(n, bool), np.zeros(n))
    other = minimize(lambda w: float(bound.values(6 * np.abs(w)[None])[0]), np.full(n, 1 / n), bounds=[(1e-9, 1)] * n,
                     constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, method="SLSQP",
                     options={"maxiter": 500, "ftol": 1e-12})  # fmt: skip
    assert found.value == pytest.approx(other.fun, rel=1e-5) and found.value <= other.fun * (1 + 1e-9)
    assert found.shares.sum() == pytest.approx(1) and found.proof < 1e-5


def test_fixed_images_stay_in_the_optimum():
    request = ask(fixed=(500.0, 500.0))
    bound = BoundError(request, request.candidates)
    found = bound.optimum(np.ones(len(request.candidates), bool), counts_of(request.candidates, [500, 500]))
    assert found.shares[np.searchsorted(found.bvalues, 500)] >= 2 / 6 - 1e-9
