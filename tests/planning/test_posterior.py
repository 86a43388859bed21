"""The criterion "posterior": a posterior by plain numpy, one voxel after another, and the Monte Carlo of `compare`."""

import numpy as np
import pytest

from ivimsc.planning.judge import judge
from ivimsc.planning.posterior import PosteriorError
from ivimsc.planning.usual import Protocol
from tests.conftest import equation1
from tests.planning.makers import LAUNCH, OTHER, TISSUE, ask, counts_of


def by_hand(error, counts):
    """Posterior variances (tissue, 3) over those of the prior, in float64 and with S0 integrated by closed form."""
    request, used = error.request, np.flatnonzero(counts)
    n, sigma = counts[used], 1 / request.snr
    draws, truth = error._draws, error._truth
    theta, sums = draws.theta.astype(float), np.zeros((len(error.sd), 3))
    s = draws.signals[used].astype(float)
    for v, tissue in enumerate(truth.tissue):
        y = truth.signals[used, v] + sigma / np.sqrt(n) * truth.noise[used, v]
        if request.s0_known:
            logs = -((y[:, None] - s) ** 2 * n[:, None]).sum(0) / (2 * sigma**2)
        else:
            ss, ys, yy = (n[:, None] * s * s).sum(0), (n[:, None] * y[:, None] * s).sum(0), (n * y * y).sum()
            logs = -(yy - ys**2 / ss) / (2 * sigma**2) - 0.5 * np.log(ss)
        w = np.exp(logs - logs.max())
        w /= w.sum()
        mean = theta @ w
        sums[tissue] += (theta**2 @ w - mean**2) / np.sum(truth.tissue == tissue)
    return sums * (error._unit / error.sd) ** 2


@pytest.mark.parametrize("settings", [{}, {"s0_known": True}, {"tissue": [TISSUE, OTHER]}, {"snr": 200.0}])
def test_the_kernel_is_the_posterior(settings):
    """To 2e-4: float32 sums of a thousand weights."""
    request = ask(**settings)
    error = PosteriorError(request, request.candidates, LAUNCH)
    counts = np.stack(
        [counts_of(request.candidates, images) for images in ([0, 0, 100, 200, 600, 800], [0, 100, 300, 400, 500, 800])]
    )
    counts[1, 3] += 0.5  # half an image
    found = error.left(counts)
    for row, one in zip(found, counts, strict=True):
        np.testing.assert_allclose(row, by_hand(error, one), rtol=2e-4)


def test_signals_are_equation_1():
    request = ask()
    error = PosteriorError(request, request.candidates, LAUNCH)
    theta = error._draws.theta[:, :5].astype(float)
    from ivimsc.planning.prior import draws_of

    f, D, Dstar = draws_of(TISSUE, 1024, 1)[:, :5]
    assert np.corrcoef(theta[0], f)[0, 1] == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(
        error._draws.signals[:, :5].T, equation1(np.ones(5), f, D, Dstar, request.candidates), rtol=1e-6
    )


def test_the_error_is_the_smallest_possible_one_of_compare():
    """The variance of the posterior is, on average, the smallest mean squared error; to 10 %: 256 voxels against 3000."""
    request = ask(volumes=8, step=10.0)
    images = (0, 10, 30, 80, 80, 200, 500, 800)
    error = PosteriorError(request, request.candidates, LAUNCH)
    left = error.left(counts_of(request.candidates, images)[None])[0, 0]
    rows = judge(request, [Protocol("a", "", tuple(map(float, images)))], LAUNCH)
    found = np.array([row.rmse / row.prior for row in rows]) ** 2
    np.testing.assert_allclose(left, found, rtol=0.1)


def test_more_images_leave_less_and_no_information_leaves_the_prior():
    request = ask()
    error = PosteriorError(request, request.candidates, LAUNCH)
    counts = counts_of(request.candidates, [0, 100, 200, 400, 600, 800])
    left = error.left(counts * np.array([0.01, 1, 2, 8])[:, None])[:, 0]
    assert (np.diff(left, axis=0) < 0).all()
    # at a hundredth of an image the data say next to nothing: the draws' own variance, to 5 %
    np.testing.assert_allclose(left[0, [0, 2]], 1, rtol=0.05)


def test_threads_do_not_change_the_result():
    from ivimsc.device.launch import choose_device, usable_cores

    request = ask()
    counts = np.stack([counts_of(request.candidates, [0, 100, 200, 300, 800, b]) for b in request.candidates])
    one, many = (
        PosteriorError(request, request.candidates, choose_device("cpu", n)).values(counts)
        for n in (1, min(2, usable_cores()))
    )
    np.testing.assert_array_equal(one, many)
