"""What the tables of starting points of the least-squares fits share: products with columns, and peaks along an axis.

A table is searched over many nodes (one for each D, say) for every place on an axis (D*). The best node at each place is the
profile along the axis; its two highest local maxima are the starts, because noise makes the cost multimodal there.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from ivimsc.compiling import LANE_JIT
from ivimsc.numerics.lanes import LANES

__all__ = ["NO_PEAKS", "PEAK_LANES", "Peaks", "find_peaks", "insert_peak", "pair_gain", "products"]

L = LANES
ZERO, ONE = np.float32(0.0), np.float32(1.0)


class Peaks(NamedTuple):
    """The two highest local maxima along D* that were seen so far, the higher one first."""

    gain1: np.float32  # the Σ y² that it explains, -1 where there is none
    gain2: np.float32
    d1: np.float32
    p1: np.float32
    d2: np.float32
    p2: np.float32


NO_PEAKS = Peaks(-ONE, -ONE, ZERO, ZERO, ZERO, ZERO)
PEAK_LANES = np.dtype([(name, np.float32, (LANES,)) for name in Peaks._fields])


@njit(**LANE_JIT)
def products(w, columns, sums):
    """Sums (column, lane) = Σ_b columns[column, b] · signal[b, lane], four columns at a time."""
    for group in range(len(columns) // 4):
        row = sums[group]
        for l in range(4 * L):
            row[l] = ZERO
        for i in range(len(w)):
            y = w[i]
            c0, c1 = columns[4 * group, i], columns[4 * group + 1, i]
            c2, c3 = columns[4 * group + 2, i], columns[4 * group + 3, i]
            for l in range(L):
                row[l] += c0 * y[l]
                row[L + l] += c1 * y[l]
                row[2 * L + l] += c2 * y[l]
                row[3 * L + l] += c3 * y[l]


@njit(**LANE_JIT)
def insert_peak(peaks, before, here, after, d, p):
    """`Peaks` with the point (d, p) put in, where its gain `here` is a local maximum."""
    gain = here if (here >= before) & (here > after) else -ONE
    first, second = gain > peaks.gain1, gain > peaks.gain2
    gain2 = peaks.gain1 if first else max(gain, peaks.gain2)
    d2 = peaks.d1 if first else (d if second else peaks.d2)
    p2 = peaks.p1 if first else (p if second else peaks.p2)
    return Peaks(max(gain, peaks.gain1), gain2, d if first else peaks.d1, p if first else peaks.p1, d2, p2)


@njit(**LANE_JIT)
def find_peaks(p, gain, partner, lanes):
    """The `Peaks` of `gain` along D* in all lanes; lanes (1,) of PEAK_LANES."""
    t = lanes[0]
    gain1, gain2, d1, p1, d2, p2 = t.gain1, t.gain2, t.d1, t.p1, t.d2, t.p2
    for l in range(L):
        gain1[l], gain2[l], d1[l], p1[l], d2[l], p2[l] = NO_PEAKS
    for k in range(1, len(p) + 1):
        p_here = p[k - 1]
        before, here, after, d_here = gain[k - 1], gain[k], gain[k + 1], partner[k]
        for l in range(L):
            peaks = Peaks(gain1[l], gain2[l], d1[l], p1[l], d2[l], p2[l])
            gain1[l], gain2[l], d1[l], p1[l], d2[l], p2[l] = insert_peak(
                peaks, before[l], here[l], after[l], d_here[l], p_here
            )


@njit(**LANE_JIT)
def pair_gain(s1, s2, pair, f_low, f_high):
    """The part of Σ y² that two columns explain with amplitudes in the cone f_low <= f <= f_high.

    Parameters
    ----------
    s1, s2 : float32
        Products of the signal with the two columns, which have unit length.
    pair : (r, apart, i1, i2, u1, u2, v1, v2)
        Their cosine; 1 / (1 - r²), 0 where they are one column; the inverse lengths of the columns as they are; the weights
        of both in the unit columns of the lower (u) and upper (v) edge of the cone.
    f_low, f_high : float32
        Bounds of the share of the second column.
    """
    r, apart, i1, i2, u1, u2, v1, v2 = pair
    t1, t2 = s1 - r * s2, s2 - r * s1
    a, c = t1 * apart * i1, t2 * apart * i2
    total = a + c
    valid = (c >= f_low * total) & (c <= f_high * total) & (total > ZERO)
    edge = max(max(u1 * s1 + u2 * s2, v1 * s1 + v2 * s2), ZERO)
    return s1 * s1 + t2 * t2 * apart if valid else edge * edge
