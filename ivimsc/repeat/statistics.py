"""How well measurements repeat: within-subject SD and CV, the repeatability coefficient, ICC(2,1), limits of agreement.

Sources: Bland and Altman, Lancet 327:307 (1986) and BMJ 313:744 (1996) for the within-subject SD and the repeatability
coefficient, 1.96 √2 = 2.77 times as large; Raunig et al., Stat. Methods Med. Res. 24:27 (2015), the QIBA metrology group, for
the root mean square of the CVs and the chi-square intervals; Shrout and Fleiss, Psychol. Bull. 86:420 (1979) for ICC(2,1) and its
interval, which McGraw and Wong, Psychol. Methods 1:30 (1996) call ICC(A,1).

Where errors are in proportion to the value, all of it is told of logarithms (Bland and Altman, BMJ 312:1654 and 313:106, 1996).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as f_distribution

__all__ = ["Agreement", "Interval", "Repeatability", "agreement", "icc", "repeatability"]

LEVEL = 0.95
NORMAL = 1.959964  # quantile (1 + LEVEL) / 2 of the standard normal distribution
# 2.77: two measurements differ by less than this many within-subject SDs, in 95 of 100 pairs
TWO = NORMAL * math.sqrt(2)


class Interval(NamedTuple):
    """A value and its 95 % confidence interval; NaN where the data do not tell it."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Interval":
        """The interval of `factor` times the value."""
        return Interval(*(factor * part for part in self))


UNKNOWN = Interval(math.nan, math.nan, math.nan)


class Repeatability(NamedTuple):
    """What repeats tell.

    targets, repeats : size of the table; mean : of all values, geometric where `log`
    wsd : within-subject SD, of the natural logarithm where `log`
    wcv : within-subject CV, a share of the value; cv_targets : those that have one, whose repeats are not all 0
    rc : repeatability coefficient, what the difference of two measurements stays below in 95 of 100 pairs; where `log`, the
    factor between them
    icc : ICC(2,1), of logarithms where `log`
    """

    targets: int
    repeats: int
    log: bool
    mean: float
    wsd: Interval
    wcv: Interval
    rc: Interval
    icc: Interval
    cv_targets: int = 0


class Agreement(NamedTuple):
    """Two repeats beside one another: n pairs, mean and SD of second - first, limits of agreement; ratios where `log`."""

    n: int
    log: bool
    bias: float
    sd: float
    low: float
    high: float


def repeatability(values: NDArray, log: bool = False) -> Repeatability:
    """The repeatability of a table of measurements.

    Parameters
    ----------
    values : (target, repeat) finite numbers; a target is what stays the same: a subject's region, or a voxel
    log : errors are in proportion to the value: tell of logarithms; all values are > 0 then

    Returns
    -------
    see `Repeatability`; NaN where there are too few targets or repeats
    """
    values = np.asarray(values, np.float64)
    n, k = values.shape
    if n < 1 or k < 2:
        return Repeatability(n, k, log, math.nan, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN)
    x = np.log(values) if log else values
    variances = x.var(axis=1, ddof=1)
    wsd = _chi_square(math.sqrt(variances.mean()), n * (k - 1))
    if log:
        wcv = Interval(*(math.sqrt(math.expm1(min(part**2, 700.0))) for part in wsd))
        rc = Interval(*(math.exp(min(TWO * part, 700.0)) for part in wsd))
        mean, told = math.exp(x.mean()), n
    else:
        means = x.mean(axis=1)
        share = variances[means != 0] / means[means != 0] ** 2  # all repeats 0: nothing to take a share of
        told = len(share)
        wcv = _chi_square(math.sqrt(share.mean()), told * (k - 1)) if told else UNKNOWN
        rc, mean = wsd.times(TWO), float(x.mean())
    return Repeatability(n, k, log, mean, wsd, wcv, rc, icc(x), told)


def _chi_square(sd: float, freedom: int) -> Interval:
    """The interval of an SD, or of a CV that is small, with so many degrees of freedom."""
    low, high = chi2.ppf([(1 + LEVEL) / 2, (1 - LEVEL) / 2], freedom)
    return Interval(sd, sd * math.sqrt(freedom / low), sd * math.sqrt(freedom / high))


def icc(values: NDArray) -> Interval:
    """ICC(2,1), two-way random effects, absolute agreement, of single measurements.

    Parameters
    ----------
    values : (target, repeat) finite numbers

    Returns
    -------
    ICC(2,1) and its interval; NaN for fewer than two targets or repeats, and where all values are the same; without an
    interval where the repeats are the same
    """
    x = np.asarray(values, np.float64)
    n, k = x.shape
    if n < 2 or k < 2:
        return UNKNOWN
    rows, columns, mean = x.mean(axis=1), x.mean(axis=0), x.mean()
    msr = k * np.sum((rows - mean) ** 2) / (n - 1)  # between targets
    msc = n * np.sum((columns - mean) ** 2) / (k - 1)  # between repeats
    mse = np.sum((x - rows[:, None] - columns[None, :] + mean) ** 2) / ((n - 1) * (k - 1))
    total = msr + (k - 1) * mse + k * (msc - mse) / n
    if not total > 0:
        return UNKNOWN
    value = (msr - mse) / total
    if not value < 1:
        return Interval(float(value), math.nan, math.nan)
    a, b = k * value / (n * (1 - value)), 1 + k * value * (n - 1) / (n * (1 - value))
    weights = (a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1))
    freedom = (a * msc + b * mse) ** 2 / weights if weights > 0 else math.nan  # Satterthwaite's
    below, above = f_distribution.ppf((1 + LEVEL) / 2, [n - 1, freedom], [freedom, n - 1])
    rest = k * msc + (k * n - k - n) * mse
    low = n * (msr - below * mse) / (below * rest + n * msr)
    high = n * (above * msr - mse) / (rest + n * above * msr)
    return Interval(float(value), float(low), float(high))


def agreement(first: NDArray, second: NDArray, log: bool = False) -> Agreement:
    """Bland and Altman's limits of agreement of two repeats.

    Parameters
    ----------
    first, second : (target,) finite numbers
    log : of logarithms; bias and limits are then ratios second / first, and `sd` is of the logarithm
    """
    difference = np.log(second) - np.log(first) if log else np.asarray(second, np.float64) - first
    n = len(difference)
    bias = float(difference.mean()) if n else math.nan
    sd = float(difference.std(ddof=1)) if n > 1 else math.nan
    told = (bias, bias - NORMAL * sd, bias + NORMAL * sd)
    middle, low, high = (math.exp(part) for part in told) if log else told
    return Agreement(n, log, middle, sd, low, high)
