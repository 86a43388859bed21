"""The errors of protocols at equal scan time: the smallest possible mean squared errors, by the Monte Carlo of `compare`.

Every protocol gets the scan time of the design, which is its number of images: one of K images is reckoned with the noise of
K / volumes of an image's scan time, as if each image were repeated volumes / K times. Signals, noise and draws are not those
of the search, so that the design is not judged by the data that chose it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import Launch
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.parameters import PARAMETERS
from ivimsc.physics.signal import signals
from ivimsc.planning.prior import draws_of, moments_of
from ivimsc.planning.request import Request
from ivimsc.planning.usual import Protocol

__all__ = ["Row", "judge", "sigma_of"]

VOXELS, MOST_VOXELS = 12_000, 40_000  # simulated per tissue; in all
JUDGE = 7919  # added to the seed, so that no draw is one of the search


@dataclass(frozen=True)
class Row:
    """The error of one parameter in one tissue under one protocol.

    Attributes
    ----------
    protocol, images : its name, and its number of images before the scan time is made equal
    tissue, parameter, unit : in words; f without unit, D and D* in µm²/ms
    rmse, rmse_error : root of the smallest possible mean squared error, and its Monte-Carlo standard error
    prior : SD of the parameter within the tissue: the error of who knows the tissue's mean and measures nothing
    cramer_rao : smallest SD of unbiased estimates at the tissue's mean; inf where the protocol cannot tell the parameter
    ratio : `rmse` over that of the design
    """

    protocol: str
    images: int
    tissue: str
    parameter: str
    unit: str
    rmse: float
    rmse_error: float
    prior: float
    cramer_rao: float
    ratio: float


def sigma_of(request: Request, images: Sequence[float]) -> float:
    """Noise SD over S0 of one image of a protocol that gets the scan time of the design.

    Parameters
    ----------
    request : the design's
    images : b-value of every image of the protocol [s/mm²]
    """
    gain = 1.0 if request.echo_time is None else request.echo_time.gain(max(images))
    return float(np.sqrt(len(images) / request.volumes) / request.snr / gain)


def judge(
    request: Request,
    protocols: Sequence[Protocol],
    launch: Launch,
    progress: Callable[[int, int], None] = lambda n, of: None,
) -> list[Row]:
    """Errors of protocols; the first is the design.

    Parameters
    ----------
    request : tissues, noise and scan time
    protocols : with the b-value of every image
    launch : CPU threads
    progress : takes (protocols done, of so many)

    Returns
    -------
    Rows by protocol, tissue and parameter
    """
    n = min(VOXELS, MOST_VOXELS // len(request.tissues))
    parts = [draws_of(t, n, request.seed + JUDGE + k, request.spread) for k, t in enumerate(request.tissues)]
    theta, tissue = np.concatenate(parts, axis=1), np.repeat(np.arange(len(parts)), n)
    rows: list[Row] = []
    for done, protocol in enumerate(protocols):
        progress(done, len(protocols))
        mse = _errors(request, protocol, theta, tissue, launch)
        rows += _rows(request, protocol, mse, rows[: 3 * len(parts)])
    progress(len(protocols), len(protocols))
    return rows


def _errors(
    request: Request, protocol: Protocol, theta: NDArray, tissue: NDArray, launch: Launch
) -> NDArray[np.float64]:
    """Smallest mean squared errors, and their standard errors (2, tissue, 3) [1, (mm²/s)²]."""
    b, sigma = np.array(protocol.images), sigma_of(request, protocol.images)
    random = np.random.Generator(np.random.Philox(request.seed + JUDGE))
    clean = signals(1.0, *theta[:, :, None], b)
    noisy = (clean + sigma * random.standard_normal(clean.shape)).astype(np.float32)
    truth = {"s0": np.ones(theta.shape[1]), **dict(zip(("f", "d", "dstar"), theta, strict=True))}
    bound = smallest_error(noisy, truth, b, sigma, False, request.s0_known, launch, request.seed)
    return np.stack([bound.mean("noisy", tissue == t) for t in range(len(request.tissues))], axis=1)


def _rows(request: Request, protocol: Protocol, mse: NDArray[np.float64], design: Sequence[Row]) -> list[Row]:
    rows = []
    for t, tissue in enumerate(request.tissues):
        mean = [1.0, tissue.f[0], tissue.D[0], tissue.Dstar[0]]
        bound = cramer_rao(*mean, protocol.images, sigma_of(request, protocol.images), request.s0_known)[0, 1:]
        prior = moments_of(tissue, request.spread)[1]
        for p, parameter in enumerate(PARAMETERS[1:]):
            scale = 1.0 if parameter.key == "f" else parameter.display_scale
            rmse = float(np.sqrt(max(mse[0, t, p], 0)) * scale)
            error = float(0.5 * mse[1, t, p] * scale**2 / rmse) if rmse > 0 else np.nan
            ratio = rmse / design[3 * t + p].rmse if design else 1.0
            unit = "1" if parameter.key == "f" else parameter.display_unit
            rows.append(Row(protocol.name, len(protocol.images), tissue.name, parameter.symbol, unit, rmse, error,
                            float(prior[p] * scale), float(bound[p] * scale), ratio))  # fmt: skip
    return rows
