"""Sparse coding over a fixed dictionary: equations (2) to (10) of the paper, with no training.

Every signal becomes a non-negative combination of a few exponentials exp(-b D_j) and exp(-b D*_j), the one that
minimises (5), ||y - Φ x||² + β ||x||₁; (8) to (10) read f, D and D* off it. The solver is `exact` (an active-set method,
the default: it is also the fastest), `fista` or `soft` (ISTA), or `hard`, the paper's (6) with (7). As it stands (6)
converges only where the norm of Φ is at most 1; ours is scaled by 1/L.

Signals are scaled to a largest value of 1 first: β and λ have no unit, and the scale of the data changes S0 alone. β is
given as it is (`beta_rule=absolute`), as a multiple of ||Φᵀy||_∞ of each voxel (`relative`; at 2 nothing is left), or
found once for the data set so that the residuals are as large as the noise (`noise`: the discrepancy principle).

A signal that is the mean of n images has noise σ/√n, and counts n times in (5): signals and atoms are multiplied by
√(n / mean n) before anything else, so that both stand as they are where all n are the same. β is then that of these signals.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from ivimsc import fitter
from ivimsc.device.launch import Launch, beside, is_on_gpu, leave_gpu, on_host, run_blocks
from ivimsc.device.verdict import evidence_of, judged
from ivimsc.errors import InputError
from ivimsc.estimates import FIELDS, Estimates, Spectrum
from ivimsc.methods import Inputs, VoxelSource
from ivimsc.methods.ista.decoding import Maps, decode_codes
from ivimsc.methods.ista.problem import Code, Endings, Penalty
from ivimsc.methods.ista.pyramid import make_pyramid
from ivimsc.methods.ista.sparse_coding import encode_exact
from ivimsc.methods.ista.thresholding import FISTA, HARD, SOFT, Plan, encode_iterated
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.outcome import Outcome
from ivimsc.physics.dictionary import Dictionary, make_dictionary
from ivimsc.physics.parameters import BY_KEY
from ivimsc.physics.protocol import require_distinct
from ivimsc.voxels import sample_signals

TITLE = "Sparse coding over a fixed dictionary"
SOURCE = "the paper, equations (2) to (10); active set: Lawson and Hanson, Solving Least Squares Problems (1974)"

SOLVERS = ("exact", "fista", "soft", "hard")
RULES = ("absolute", "relative", "noise")
BLOCK = 1024  # voxels per call: a voxel takes some µs
PART = 16384  # voxels coded at a time: dense coefficients over 600 atoms are 80 MB
PART_ON_GPU = 2**20  # where codes are never dense, and many voxels hide the wait for memory
LOWEST_D = 1e-5  # mm²/s: a logarithmic grid cannot start at the bound, 0


@dataclass(frozen=True)
class Options:
    """Options of ista."""

    solver: str = field(default="exact", metadata={"help": " or ".join(SOLVERS)})
    beta: float = field(
        default=0.0, metadata={"help": "β of (5), for signals scaled to 1; 0: non-negative least squares"}
    )
    beta_rule: str = field(
        default="absolute",
        metadata={"help": "absolute, relative (β times ||Φᵀy||_∞ of the voxel) or noise (chosen; beta is not used)"},
    )
    sigma: float | None = field(
        default=None, metadata={"help": "noise SD of one image, in units of the signal (none: from residuals)"}
    )
    threshold: float | None = field(default=None, metadata={"help": "λ of (7) for solver=hard (none: sqrt(β/L))"})
    grid: str = field(default="log", metadata={"help": "log or linear"})
    n_d: int = field(default=300, metadata={"help": "atoms of D"})
    n_dstar: int = field(default=300, metadata={"help": "atoms of D*"})
    d_range: tuple[float, float] = field(default=(LOWEST_D, BY_KEY["d"].upper), metadata={"help": "grid of D [mm²/s]"})
    dstar_range: tuple[float, float] = field(
        default=(BY_KEY["dstar"].lower, BY_KEY["dstar"].upper), metadata={"help": "grid of D* [mm²/s]"}
    )
    tolerance: float = field(default=1e-6, metadata={"help": "largest relative duality gap"})
    max_iterations: int = field(default=1000, metadata={"help": "of fista, soft and hard, per voxel"})
    dictionary: str | None = field(default=None, metadata={"help": "dictionary file (.h5) instead of the grids"})

    def __post_init__(self) -> None:
        for name, choices in (("solver", SOLVERS), ("beta_rule", RULES)):
            if getattr(self, name) not in choices:
                raise InputError(f"option {name} of ista: found {getattr(self, name)!r}, expected {', '.join(choices)}")
        if not 0 <= self.beta < np.inf:
            raise InputError(f"option beta of ista: found {self.beta:g}, expected a number >= 0")
        for name in ("sigma", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"option {name} of ista: found {value:g}, expected a number > 0 or none")
        if not 1e-12 <= self.tolerance < 1:
            raise InputError(f"option tolerance of ista: found {self.tolerance:g}, expected 1e-12 to 1")
        if self.max_iterations < 1:
            raise InputError(f"option max_iterations of ista: found {self.max_iterations}, expected at least 1")


class Fitter(fitter.Fitter):
    """ista made ready for one dictionary."""

    def __init__(self, dictionary: Dictionary, weights: NDArray[np.float64], options: Options, launch: Launch) -> None:
        if launch.on_gpu and options.solver != "exact":
            launch = leave_gpu(launch, f"solver={options.solver} of ista has no CUDA kernels, solver=exact has")
        super().__init__(launch, dictionary.notes())
        self.dictionary, self.options = dictionary, options
        self.evidence = evidence_of(dictionary.bvalues, options.sigma, weights=weights)
        self.images, self.counted = float(np.mean(weights)), bool(np.any(weights != 1))
        self.root = np.sqrt(weights / self.images).astype(np.float32)
        self.matrix = dictionary.matrix * self.root[:, None]
        self.beta, self.relative = options.beta, options.beta_rule == "relative"
        self.pyramid = make_pyramid(self.matrix, len(dictionary.D), options.tolerance)

    def code(self, signals: NDArray[np.float32], beta: float, solver: str) -> Code:
        """Code signals (voxel, b), times `root`, with β = `beta` (of the fitter's rule), on the CPU."""
        n, penalty = len(signals), Penalty(float(beta), self.relative)
        endings = Endings(
            scale=np.zeros(n, np.float32),
            gap=np.empty(n),
            squares=np.empty(n),
            turns=np.zeros(n, np.int32),
            done=np.empty(n, np.bool_),
        )
        if solver == "exact":
            most = min(self.dictionary.matrix.shape)
            atom, x = np.empty((n, most), np.int32), np.empty((n, most))
            run_blocks(self.launch, encode_exact, n, signals, self.pyramid, penalty, atom, x, endings, block=BLOCK)
            used = atom >= 0
            data, indices = x[used], atom[used]
        else:
            x = np.empty((n, len(self.dictionary)))
            run_blocks(
                self.launch, encode_iterated, n, signals, self._plan(beta, solver), penalty, x, endings, block=64
            )
            used = x > 0
            data, indices = x[used], np.nonzero(used)[1].astype(np.int32)
        indptr = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
        return Code(data=data, indices=indices, indptr=indptr, **endings._asdict())

    def _plan(self, beta: float, solver: str) -> Plan:
        """What `encode_iterated` needs to know beside the signals."""
        phi, options = self.matrix, self.options
        L = self.dictionary.lipschitz if np.all(self.root == 1) else float(np.linalg.norm(phi, 2) ** 2)
        hard = np.sqrt(beta / L) if options.threshold is None else options.threshold
        return Plan(
            phi=phi,
            w=phi / L,
            threshold=np.full(phi.shape[1], hard if solver == "hard" else 1.0 / L),
            lift=self.pyramid.lift[0, : len(phi)].copy(),
            kind={"soft": SOFT, "fista": FISTA, "hard": HARD}[solver],
            iterations=options.max_iterations,
            tolerance=options.tolerance,
        )

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`; nothing here is random, so `first` is not used, nor is `s0`."""
        on_gpu = self.launch.on_gpu
        part, fit = (PART_ON_GPU, self._fit_on_gpu) if on_gpu else (PART, self._fit_part)
        if is_on_gpu(signals):
            return judged(self.launch, self._counted(fit(self._rooted(signals)), signals), self.evidence)
        signals = np.ascontiguousarray(signals)
        rows = (signals[i : i + part] for i in range(0, max(len(signals), 1), part))
        parts = [self._counted(fit(self._rooted(some)), some) for some in rows]
        return judged(self.launch, parts[0] if len(parts) == 1 else _joined(parts), self.evidence)

    def _rooted(self, signals: Any) -> Any:
        """Signals (voxel, b) times `root`, where they are."""
        if np.all(self.root == 1):
            return signals
        return beside(signals, on_host(signals) * self.root, self.launch)

    def _counted(self, estimates: Estimates, signals: Any) -> Estimates:
        """Estimates whose rmse is that of signals times `root`, with the rmse of the signals (voxel, b), and the spread."""
        if not self.counted:
            return estimates
        found, code, shape = on_host(estimates.rmse), estimates.spectrum, (len(signals), len(self.dictionary))
        coefficients = csr_array(tuple(on_host(array).astype(np.float64) for array in code), shape=shape)
        rest = on_host(signals) - coefficients @ self.dictionary.matrix.T
        plain = np.where(np.isnan(found), found, np.sqrt(np.mean(rest * rest, axis=1)))
        spread = found * np.float32(np.sqrt(self.images))
        rmse, spread = (beside(signals, array.astype(np.float32), self.launch) for array in (plain, spread))
        return dataclasses.replace(estimates, rmse=rmse, spread=spread)

    @cached_property
    def _coder(self) -> Any:
        from ivimsc.methods.ista.on_gpu import Coder  # CUDA is loaded only where it runs

        penalty = Penalty(float(self.beta), self.relative)
        return Coder(self.launch, self.pyramid, self.dictionary.grids, penalty, self.options.tolerance)

    def _fit_on_gpu(self, signals: Any) -> Estimates:
        maps, codes = self._coder.run(signals)
        spectrum = self._coder.rows(codes)
        return Estimates(**maps._asdict(), gap=codes.gap, iterations=codes.turns, atoms=codes.used, spectrum=spectrum)

    def _fit_part(self, signals: NDArray[np.float32]) -> Estimates:
        options, n = self.options, len(signals)
        code = self.code(signals, self.beta, options.solver)
        maps = Maps(*(np.empty(n, np.float32) for _ in range(5)), outcome=np.empty(n, np.uint8))
        run_blocks(self.launch, decode_codes, n, code, self.dictionary.grids, signals.shape[1], maps)
        missed, what = ~(code.gap <= options.tolerance), Outcome.GAP
        if options.solver == "hard":
            missed, what = ~code.done, Outcome.ITERATION_LIMIT
        maps.outcome[missed & (maps.outcome != Outcome.BAD_SIGNAL)] = what
        data = (code.data * np.repeat(code.scale, code.atoms)).astype(np.float32)
        spectrum = Spectrum(data, code.indices, code.indptr)
        gap = code.gap.astype(np.float32)
        return Estimates(**maps._asdict(), gap=gap, iterations=code.turns, atoms=code.atoms, spectrum=spectrum)

    def choose_beta(self, signals: NDArray[np.float32]) -> None:
        """β by the discrepancy principle: mean residual of a sample of signals (voxel, b) = noise variance.

        Without `sigma` the noise comes from β = 0: the residuals of K b-values and k active atoms have about K - k degrees
        of freedom; the median over voxels (a chi-square's, corrected) keeps bad voxels out.
        """
        signals = self._rooted(signals)
        least = self.code(signals, 0.0, "exact")
        freedom = signals.shape[1] - least.atoms
        good = (least.scale > 0) & (freedom > 0)
        if not np.any(good):
            raise InputError(
                "option beta_rule of ista: found no voxel to measure the noise on, expected beta_rule=absolute or relative"
            )
        sigma, how = self.options.sigma, "given"
        if sigma is None:
            square = least.squares[good] * least.scale[good].astype(np.float64) ** 2
            sigma, how = sigma_of_squares(self.images * square, freedom[good]), "from residuals"
        variance = (sigma / np.sqrt(self.images) / least.scale[good].astype(np.float64)) ** 2
        target = signals.shape[1] * np.median(variance)
        low, high = 0.0, 2.0 * float(self.dictionary.matrix.sum(axis=0).max())  # at the upper end x = 0
        rows = signals[good]
        if np.median(least.squares[good]) < target:
            for _ in range(30):
                self.beta = 0.5 * (low + high) if low > 0 else high / 64
                above = np.median(self.code(rows, self.beta, "exact").squares) > target
                low, high = (low, self.beta) if above else (self.beta, high)
                if high - low < 1e-2 * high:
                    break
        self.beta = low
        self.notes.append(f"beta: {low:.4g} (discrepancy principle, {good.sum()} voxels, noise SD {sigma:.4g} {how})")


def _joined(parts: list[Estimates]) -> Estimates:
    """One Estimates out of those of consecutive voxels."""
    names = [name for name in (*(one.code for one in FIELDS), "spread") if getattr(parts[0], name) is not None]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    data, indices = (np.concatenate([part.spectrum[i] for part in parts]) for i in (0, 1))
    counts = np.concatenate([np.diff(part.spectrum.indptr) for part in parts])
    return Estimates(**arrays, spectrum=Spectrum(data, indices, np.concatenate([[0], np.cumsum(counts)])))


def prepare(voxels: VoxelSource, options: Options, launch: Launch, inputs: Inputs | None = None) -> Fitter:
    """Check the protocol, build the dictionary (or take the one that was read from options.dictionary), choose β.

    Raises
    ------
    InputError
        for fewer than 2 distinct b-values, a dictionary of other b-values, and what `make_dictionary` refuses
    """
    require_distinct(voxels.bvalues, 2, "ista")
    dictionary = None if inputs is None else inputs.files.get("dictionary")
    if dictionary is not None:
        dictionary.require_bvalues(voxels.bvalues, options.dictionary or "dictionary")
    elif options.dictionary is not None:
        raise InputError(f"option dictionary of ista: found {options.dictionary}, expected it to be read by the caller")
    else:
        sizes = (options.n_d, options.n_dstar)
        dictionary = make_dictionary(voxels.bvalues, options.grid, sizes, options.d_range, options.dstar_range)
    if not np.any(np.all(dictionary.matrix > 0, axis=1)):
        raise InputError(
            "dictionary: found no b-value at which all atoms are positive, expected one (the smallest, say)"
        )
    made = Fitter(dictionary, voxels.weights, options, launch)
    if options.beta_rule == "noise":
        made.choose_beta(sample_signals(voxels))
    else:
        made.notes.append(f"beta: {options.beta:g} ({options.beta_rule}, signals scaled to a largest value of 1)")
    return made
