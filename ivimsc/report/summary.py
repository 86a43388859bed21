"""What a report says of all voxels together: noise, outcomes, the mean curve with its residuals, histograms, errors."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.fit.noise import FEWEST, NoiseLevel, measure_noise
from ivimsc.outcome import Outcome
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.physics.models import predicted
from ivimsc.physics.parameters import BY_KEY, PARAMETERS, Parameter
from ivimsc.report.sources import Fit, Sources

__all__ = [
    "Curve",
    "ErrorRow",
    "Histogram",
    "bound_of",
    "count_outcomes",
    "curves",
    "error_rows",
    "histograms",
    "mean_curves",
    "noise_of",
]

BINS = 80
BEYOND, SPIKE = (
    0.02,
    4.0,
)  # share of values beyond an axis that widens it; a peak so many times higher than others is cut
BLOCK = 65536  # voxels whose curves are computed at once
BOUNDED = 20_000  # most voxels whose Cramér-Rao bound is computed
MEDIAN = 0.6745  # median of |x| for a standard normal x
FITTED = (Outcome.OUTSIDE, Outcome.BAD_SIGNAL)  # outcomes without a fit


class Curve(NamedTuple):
    """The mean over the fitted voxels, each (b,): measured, fitted, and mean and SD of measured less fitted."""

    voxels: int
    measured: NDArray[np.float64]
    fitted: NDArray[np.float64]
    residual: NDArray[np.float64]
    spread: NDArray[np.float64]


class Histogram(NamedTuple):
    """Shares [%] of the voxels per bin, by name; `edges` in the display unit; `top` of the axis; notes: what it does not show."""

    parameter: Parameter
    edges: NDArray[np.float64]
    shares: dict[str, NDArray[np.float64]]
    top: float
    notes: list[str]


class ErrorRow(NamedTuple):
    """Errors of one fit against the truth, in display units; median: of the sizes, and `bound` that at the Cramér-Rao bound."""

    parameter: Parameter
    name: str
    bias: float
    rmse: float
    median: float
    bound: float


def noise_of(sources: Sources) -> NoiseLevel | None:
    """The noise level of the data; None where too few voxels or b-values tell it."""
    if len(sources) < FEWEST:
        return None
    try:
        level = measure_noise(sources.voxels, choose_device("cpu", None))
    except InputError:
        return None
    return level if level.voxels >= FEWEST else None


def curves(fit: Fit, bvalues: NDArray[np.float64], rows: slice | NDArray[np.intp]) -> NDArray[np.float32]:
    """The curves (voxel, b) of some voxels of a fit, of its own model; bvalues (b,) [s/mm²]."""
    fields = {key: fit.fields[key][rows].astype(np.float32) for key in BY_KEY if key in fit.fields}
    return predicted(fields, np.asarray(bvalues, np.float32))


def count_outcomes(fit: Fit) -> dict[Outcome, int]:
    """Voxels per outcome, those that occur."""
    counts = np.bincount(fit.fields["outcome"], minlength=len(Outcome))
    return {outcome: int(counts[outcome]) for outcome in Outcome if counts[outcome]}


def mean_curves(sources: Sources) -> dict[str, Curve]:
    """The mean curve of each fit over its fitted voxels, and its residuals at each b-value."""
    return {fit.name: _mean_curve(sources, fit) for fit in sources.fits}


def _mean_curve(sources: Sources, fit: Fit) -> Curve:
    n, sums = 0, np.zeros((4, len(sources.bvalues)))
    for start in range(0, len(sources), BLOCK):
        rows = slice(start, start + BLOCK)
        signals, curve = sources.signals[rows], curves(fit, sources.bvalues, rows)
        good = ~np.isin(fit.fields["outcome"][rows], FITTED) & np.isfinite(signals).all(1) & np.isfinite(curve).all(1)
        signals, curve = signals[good].astype(np.float64), curve[good]
        rest = signals - curve
        n += len(signals)
        sums += signals.sum(0), curve.sum(0, dtype=np.float64), rest.sum(0), np.einsum("vb,vb->b", rest, rest)
    means = sums / max(n, 1)
    return Curve(n, *means[:3], np.sqrt(np.maximum(means[3] - means[2] ** 2, 0)))


def histograms(sources: Sources, bound: Mapping[str, NDArray] | None) -> list[Histogram]:
    """The histograms of S0, f, D and D*, over the voxels that each fit has a value for.

    Parameters
    ----------
    sources : the fits, and the truth where it is known
    bound : from `bound_of`: the truth with errors of the size of the bound
    """
    result = []
    for parameter in PARAMETERS:
        key, scale = parameter.key, parameter.display_scale
        rows = {"truth": sources.truth[key]} if key in (sources.truth or {}) else {}
        rows |= {"truth at the bound": bound[key]} if bound else {}
        rows |= {fit.name: fit.fields[key] for fit in sources.fits if key in fit.fields}
        shown = {name: values[np.isfinite(values)] * scale for name, values in rows.items()}
        if not any(len(values) for values in shown.values()):
            continue
        edges = np.linspace(0, _high(parameter, shown), BINS + 1)
        shares = {name: 100 * np.histogram(values, edges)[0] / max(len(values), 1) for name, values in shown.items()}
        result.append(Histogram(parameter, edges, shares, *_top(shares, shown, edges)))
    return result


def _high(parameter: Parameter, shown: Mapping[str, NDArray]) -> float:
    """The end of the axis: the usual one, or where nearly all values lie below, within the bounds."""
    usual = parameter.display_range[1] if parameter.display_range else 0.0
    if usual and all(np.mean(values > usual) < BEYOND for values in shown.values() if len(values)):
        return usual
    high = max(float(np.percentile(values, 99.5)) for values in shown.values() if len(values))
    return 1.02 * min(max(high, usual), parameter.upper * parameter.display_scale) or 1.0


def _top(shares: Mapping[str, NDArray], shown: Mapping[str, NDArray], edges: NDArray) -> tuple[float, list[str]]:
    """The top of the axis [%], and sentences on what lies outside it.

    No peak is cut but that of a truth that has nearly one value: it would leave no height for the others.
    """
    peaks = {name: float(values.max()) for name, values in shares.items()}
    others = max((peak for name, peak in peaks.items() if name != "truth"), default=0.0) or 1.0
    spike = peaks.get("truth", 0.0) > SPIKE * others
    beyond = {name: 100 * float(np.mean((values > edges[-1]) | (values < edges[0]))) for name, values in shown.items() if len(values)}  # fmt: skip
    notes = [f"The truth's peak, {peaks['truth']:.0f} %, is cut."] if spike else []
    told = [f"{name} {share:.1f} %" for name, share in beyond.items() if share >= 0.1]
    return 1.08 * (others if spike else max(peaks.values())) or 1.0, notes + ([f"Beyond the axis: {', '.join(told)}."] if told else [])  # fmt: skip


def bound_of(sources: Sources, sigma: float) -> dict[str, NDArray] | None:
    """The truth of some voxels, the Cramér-Rao standard deviations there, and the truth with errors of that size.

    Parameters
    ----------
    sources : the data
    sigma : noise SD of one image; 0 where it is not known

    Returns
    -------
    (voxel,) arrays under the keys of the parameters: truth plus a normal error; under ``KEY sd`` the standard deviation.
    None without noise level, and without truth of equation (1)
    """
    if set(sources.truth or ()) != {p.key for p in PARAMETERS} or not sigma > 0:
        return None
    some = np.unique(np.linspace(0, len(sources) - 1, BOUNDED).astype(int))
    true = [np.asarray(sources.truth[p.key][some], np.float64) for p in PARAMETERS]
    repeats = np.rint(sources.weights).astype(int)
    deviations = cramer_rao(*true, np.repeat(sources.bvalues, repeats), sigma)
    errors = np.random.default_rng(0).standard_normal(deviations.shape) * deviations
    result = {}
    for i, parameter in enumerate(PARAMETERS):
        known = np.isfinite(deviations[:, i])
        result[parameter.key] = (true[i] + errors[:, i])[known]
        result[f"{parameter.key} sd"] = deviations[known, i]
    return result


def error_rows(sources: Sources, bound: Mapping[str, NDArray] | None) -> list[ErrorRow]:
    """Errors of every fit against the truth, beside the bound; nothing without truth."""
    rows = []
    for p in (p for p in PARAMETERS if p.key in (sources.truth or {})):
        limit = MEDIAN * float(np.median(bound[f"{p.key} sd"])) if bound else np.nan
        for fit in sources.fits:
            if p.key in fit.fields:
                error = (fit.fields[p.key] - sources.truth[p.key]).astype(np.float64)
                error = error[np.isfinite(error)] * p.display_scale
                if len(error):
                    rows.append(ErrorRow(p, fit.name, error.mean(), np.sqrt(np.mean(error**2)), np.median(np.abs(error)), limit * p.display_scale))  # fmt: skip
    return rows
