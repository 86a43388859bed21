"""Standard errors of the segmented fit: those of its own two steps, to first order in the noise.

They are the sandwich of the two steps' stacked equations, in closed form. Both steps are least squares with weights W. D
is δD = gᵀ r of the noise r above the split; A, c and D* answer the noise of all signals and the error of D:

    δ(A, c, c D*) = H⁻¹ Jᵀ W (r - k δD),    J = [e1, e2, -b e2],    k = -b A e1,    H = Jᵀ W J

so that an estimate with the slopes t along (A, c, c D*) has, with α = H⁻¹ t, u = Jᵀ g and v = Jᵀ W k, the variance
tᵀ α - 2 (αᵀ v)(αᵀ u) + (αᵀ v)² Var(D) at unit noise. The errors of a joint fit (the Cramér-Rao bound) would be too small.

Where the residuals tell the noise. Those of the two steps are larger than those of a joint fit, by what one more step of D
would take off: without it they have K - 4 degrees of freedom, and Student's t is due. But D is told by the high b-values
alone, so that a part of its error lies in the very directions that the residuals are in: where that part is large, so
are the residuals, and it needs no t. `Variances.shared` is this part; with it the 95 % intervals hold 95 %, and without
97 to 99 %.
"""

import numpy as np
from numba import njit

from ivimsc.compiling import JIT, LANE_JIT
from ivimsc.numerics.finish import fit_at, results_at, write
from ivimsc.numerics.lanes import LANES, exp64
from ivimsc.numerics.small_matrices import bilinear2, inverse2
from ivimsc.numerics.standard_errors import NO_GRAM, Errors, Gram, add_gram, root_of

__all__ = ["finish", "is_inside", "line_variances", "two_step_variances", "uncertain"]

L = LANES
SINGULAR = 1e-15  # a few float64 epsilons

# Scratch: for each name, one number per lane; `Gram` over all b-values, and some of it over those above the split.
HIGH = ("h11", "h12", "ha11", "ha12", "hb11", "hb12")
LANES_OF_ERRORS = np.dtype(
    [
        (name, np.float64, (LANES,))
        for name in (
            "tissue",
            "blood",
            "d",
            "p",
            *Gram._fields,
            *HIGH,
            "line",
            "squares",
            "slope",
            "f_error",
            "d_error",
            "p_error",
        )
    ]
)


@njit(**LANE_JIT)
def two_step_variances(both, high, tissue, blood):
    """Variances of f, D and D* at unit noise.

    Parameters
    ----------
    both, high : Gram
        The sums over all b-values, and over those that D is fitted to.
    tissue, blood : float
        Amplitudes A = S0 (1 - f) and c = S0 f.

    Returns
    -------
    total : Errors
        The variances.
    shared : Errors
        The parts of them that lie in the directions of the residuals.
    bend : float
        Σ k1² that A, c and D* do not explain, where k1 = -b e1.
    """
    s = both
    ratio = high.a11 / high.g11
    free = max(high.b11 - high.a11 * ratio, SINGULAR * high.b11) * tissue
    d = 1.0 / (free * tissue)
    u2, u3 = (high.a12 - ratio * high.g12) / free, (high.b12 - ratio * high.a12) / free  # u1 is 0
    v1, v2, v3 = tissue * s.a11, tissue * s.a12, tissue * s.b12
    m11, m12, m22 = inverse2(s.g11, s.g12, s.g22, SINGULAR)
    h1, h2 = m11 * s.a12 + m12 * s.a22, m12 * s.a12 + m22 * s.a22
    rest = max(s.b22 - h1 * s.a12 - h2 * s.a22, SINGULAR * s.b22)
    total = tissue + blood
    fa, fc = -blood / (total * total), tissue / (total * total)  # slopes of f along A and c
    x = -(h1 * fa + h2 * fc) / rest
    a1, a2 = m11 * fa + m12 * fc - h1 * x, m12 * fa + m22 * fc - h2 * x
    gamma_f = -(a1 * v1 + a2 * v2 + x * v3)
    f = a1 * fa + a2 * fc + 2.0 * gamma_f * (a2 * u2 + x * u3) + gamma_f * gamma_f * d
    x = 1.0 / rest
    gamma_p = (h1 * v1 + h2 * v2 - v3) * x
    p = x + 2.0 * gamma_p * (u3 - h2 * u2) * x + gamma_p * gamma_p * d
    # of g: what A, c and D* explain of it, and what D does beside them
    w1, w2 = h1 * s.a11 + h2 * s.a12, u3 - h2 * u2  # products of k2, less what e1 and e2 explain, with k1 and g
    w1 = s.b12 - w1
    bend = s.b11 - bilinear2(s.a11, s.a12, m11, m12, m22, s.a11, s.a12) - w1 * w1 / rest
    bend = max(bend, SINGULAR * s.b11)
    cross = 1.0 - tissue * (u2 * (m12 * s.a11 + m22 * s.a12) + w1 * w2 / rest)
    explained = m22 * u2 * u2 + w2 * w2 / rest + cross * cross / (bend * tissue * tissue)
    shared = max(d - explained, 0.0)
    blood2 = blood * blood
    return (
        Errors(f, d, p / blood2),
        Errors(gamma_f * gamma_f * shared, shared, gamma_p * gamma_p * shared / blood2),
        bend,
    )


@njit(**LANE_JIT)
def uncertain(total, shared, bend, squares, slope, widening):
    """The variances to report where the residuals tell the noise: in units of that noise, widened by `results_at`.

    Parameters
    ----------
    total, shared, bend : Errors, Errors, float
        Those of `two_step_variances`.
    squares, slope : float
        Σ n r², and Σ n r b e1, its slope along D; 0 where a bound keeps the fit from its minimum.
    widening : float
        Of `finish.Rules`; 0 where the noise is known.

    Returns
    -------
    Errors
        `total` where the noise is known.
    """
    if not widening > 0.0:
        return total
    joint = max(1.0 - slope * slope / (bend * max(squares, 1e-300)), 0.0)  # the part of Σ n r² that a joint fit leaves
    part = 1.0 - 1.0 / (widening * widening)
    return Errors(
        (total.f - part * shared.f) * joint, (total.d - part * shared.d) * joint, (total.p - part * shared.p) * joint
    )


@njit(**LANE_JIT)
def line_variances(high, tissue, blood, line):
    """The same for the loglinear extrapolation: D* = 10 D, and `line` is the variance of ln S0 at unit noise."""
    total = tissue + blood
    i11, _i12, i22 = inverse2(high.g11, high.a11, high.b11, SINGULAR)
    d = i22 / (tissue * tissue)
    return Errors(i11 / (total * total) + (tissue / total) ** 2 * line, d, 100.0 * d)


@njit(**LANE_JIT)
def _sums(scratch, b, root, split):
    """The sums over b, the high ones first."""
    t = scratch[0]
    d, p, tissue, blood, line = t.d, t.p, t.tissue, t.blood, t.line
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = t.g11, t.g12, t.g22, t.a11, t.a12, t.a22, t.b11, t.b12, t.b22
    h11, h12, ha11, ha12, hb11, hb12 = t.h11, t.h12, t.ha11, t.ha12, t.hb11, t.hb12
    for l in range(L):
        g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l] = NO_GRAM
        line[l] = 0.0
    for i in range(len(b) - 1, -1, -1):
        bi, weight = b[i], root[i]
        for l in range(L):
            sums = Gram(g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l])
            sums = add_gram(sums, weight * exp64(-bi * d[l]), weight * exp64(-bi * p[l]), bi)
            g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l] = sums
        if i == split.n_low:
            for l in range(L):
                h11[l], h12[l], ha11[l], ha12[l], hb11[l], hb12[l] = g11[l], g12[l], a11[l], a12[l], b11[l], b12[l]
        if split.loglinear and i < split.n_low:
            share = split.line[i] / weight
            for l in range(L):
                relative = share / (tissue[l] * exp64(-bi * d[l]) + blood[l] * exp64(-bi * p[l]))
                line[l] += relative * relative


@njit(**LANE_JIT)
def errors_in_lanes(scratch, b, root, split, widening):
    """Standard errors of 16 voxels at unit noise, that is, the noise that `results_at` takes.

    `widening` is that of `finish.Rules` where the residuals tell the noise, and 0 where it is known.
    """
    _sums(scratch, b, root, split)
    t = scratch[0]
    tissue, blood, line, squares, slope = t.tissue, t.blood, t.line, t.squares, t.slope
    f_error, d_error, p_error = t.f_error, t.d_error, t.p_error
    g11, g12, g22, a11, a12, a22, b11, b12, b22 = t.g11, t.g12, t.g22, t.a11, t.a12, t.a22, t.b11, t.b12, t.b22
    h11, h12, ha11, ha12, hb11, hb12 = t.h11, t.h12, t.ha11, t.ha12, t.hb11, t.hb12
    for l in range(L):
        both = Gram(g11[l], g12[l], g22[l], a11[l], a12[l], a22[l], b11[l], b12[l], b22[l])
        high = Gram(h11[l], h12[l], 0.0, ha11[l], ha12[l], 0.0, hb11[l], hb12[l], 0.0)
        if split.loglinear:
            f_error[l], d_error[l], p_error[l] = line_variances(high, tissue[l], blood[l], line[l])
        else:
            total, shared, bend = two_step_variances(both, high, tissue[l], blood[l])
            f_error[l], d_error[l], p_error[l] = uncertain(total, shared, bend, squares[l], slope[l], widening)
    for l in range(L):  # roots beside the variances would keep that loop from becoming vector instructions
        f_error[l], d_error[l], p_error[l] = root_of(f_error[l]), root_of(d_error[l]), root_of(p_error[l])


@njit(**JIT)
def is_inside(tissue, blood, p, box):
    """Whether f and D* lie off their bounds, so that Σ n r² is at its minimum along both."""
    total = tissue + blood
    return (blood > box.f_low * total) & (blood < box.f_high * total) & (p > box.p_low) & (p < box.p_high)


@njit(**JIT)
def finish(first, scale, found, slope, problem, split, results):
    """Write the results of a block of voxels: `numerics.finish.finish`, with the errors of the two steps.

    slope (block,) float32 are Σ n r b e1.
    """
    scratch = np.empty(1, LANES_OF_ERRORS)
    t = scratch[0]
    b, root = problem.b.astype(np.float64), problem.root.astype(np.float64)
    box, widening = problem.box, 0.0 if problem.rules.sigma > 0 else problem.rules.widening
    for start in range(0, len(scale), L):
        size = min(L, len(scale) - start)
        for lane in range(L):
            v = start + min(lane, size - 1)
            good = scale[v] > 0
            t.tissue[lane], t.blood[lane] = found.tissue[v] if good else 1.0, found.blood[v] if good else 1.0
            t.d[lane], t.p[lane] = found.d[v] if good else 1.0, found.p[v] if good else 1.0
            t.squares[lane] = found.squares[v]
            t.slope[lane] = slope[v] if is_inside(found.tissue[v], found.blood[v], found.p[v], box) else 0.0
        errors_in_lanes(scratch, b, root, split, widening)
        for lane in range(size):
            v = start + lane
            errors = Errors(t.f_error[lane], t.d_error[lane], t.p_error[lane])
            write(results, first + v, results_at(scale[v], fit_at(found, v), errors, problem.box, problem.rules))
