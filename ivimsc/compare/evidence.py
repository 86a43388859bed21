"""Which model the data support, voxel by voxel: AICc, BIC and chi-square of least-squares fits of one store.

Where the noise level σ is known (the store says it, or the residuals of all voxels tell it), the misfit of a model with k parameters
is χ² = Σ n r² / σ², and

    AICc = χ² + 2 k          (with σ known, Akaike's criterion needs no correction for few data)
    BIC  = χ² + k ln(N)      (N b-values)

χ² itself says whether a model explains the signal at all: by noise alone one voxel in 10,000 exceeds its limit. The data
support the model of the least BIC among those that χ² does not refuse, and none of them where it refuses all. Without σ
(one voxel, say) N ln(Σ n r² / N) takes the place of χ², σ counts as one parameter more, AICc has its correction, and
nothing is refused.

Akaike, IEEE Trans. Autom. Control 19:716 (1974); Hurvich and Tsai, Biometrika 76:297 (1989); Schwarz, Ann. Statist. 6:461 (1978).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.methods import METHODS
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.physics.models import MODELS, Model
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["CODES", "NONE", "NOT_FITTED", "Evidence", "EvidenceRow", "evidence_of", "evidence_rows", "support"]

NONE, NOT_FITTED = 9, 0
CODES = {NOT_FITTED: "not fitted"} | dict(enumerate(MODELS, start=1)) | {NONE: "none of them"}
BY_CHANCE = 1e-4  # share of the voxels that χ² refuses by noise alone
FEWEST = 30  # voxels whose residuals tell a noise level
BLOCK = 2**18  # voxels read at once


class Candidate(NamedTuple):
    """A fit as evidence for a model: its name among the fits, the model, and how many parameters were fitted."""

    name: str
    fit: EstimateStore
    model: Model
    parameters: int


@dataclass(frozen=True)
class Evidence:
    """The evidence for every candidate.

    Attributes
    ----------
    names, models, parameters : of the candidates
    squares : (candidate, voxel) Σ n r² [unit of the signal, squared]; inf where there is no fit
    aicc, bic : (candidate, voxel)
    refused : (candidate, voxel) whether χ² refuses the model; all False without sigma
    sigma : noise SD of one image [unit of the signal], 0 where it is not known
    supported : (voxel,) codes: see `CODES`
    notes : sentences for the user
    """

    names: list[str]
    models: list[str]
    parameters: list[int]
    squares: NDArray[np.float64]
    aicc: NDArray[np.float64]
    bic: NDArray[np.float64]
    refused: NDArray[np.bool_]
    sigma: float
    supported: NDArray[np.uint8]
    notes: list[str]


@dataclass(frozen=True)
class EvidenceRow:
    """What the voxels of a tissue say of a model: medians over the voxels, and shares of them."""

    tissue: str
    model: str
    fit: str
    parameters: int
    voxels: int
    chi2: float
    aicc: float
    bic: float
    refused: float
    supported: float


def evidence_of(voxels: VoxelStore, named: dict[str, EstimateStore], sigma: float | None = None) -> Evidence | None:
    """The evidence of fits of one store; None where fewer than two models were fitted by least squares.

    Parameters
    ----------
    voxels : open store
    named : name -> open store of a fit
    sigma : noise SD of one image [unit of the signal]; None: as the store says, or from the residuals

    Raises
    ------
    InputError
        for a sigma that is not above 0
    """
    if sigma is not None and not 0 < sigma < np.inf:
        raise InputError(f"sigma: found {sigma:g}, expected a number > 0")
    candidates, notes = _candidates(voxels, named)
    if len({candidate.model.name for candidate in candidates}) < 2:
        return None
    n = len(voxels.bvalues)
    squares = np.stack([_squares(voxels, candidate) for candidate in candidates])
    parameters = [candidate.parameters for candidate in candidates]
    level, told = _sigma(voxels, squares, parameters, sigma)
    notes.append(told)
    aicc, bic, refused = criteria(squares, n, parameters, level)
    models = [candidate.model.name for candidate in candidates]
    supported = support(models, bic, refused)
    return Evidence(
        [c.name for c in candidates], models, parameters, squares, aicc, bic, refused, level, supported, notes
    )


def _candidates(voxels: VoxelStore, named: dict[str, EstimateStore]) -> tuple[list[Candidate], list[str]]:
    """The fits that are least squares over all b-values of the store, and why the others are not."""
    candidates, notes = [], []
    for name, fit in named.items():
        record = METHODS.get(fit.method)
        low, high = fit.options.get("b_range") or (0.0, np.inf)
        whole = np.array_equal(fit.bvalues, voxels.bvalues) and low <= voxels.bvalues[0] and high >= voxels.bvalues[-1]
        if record is None or record.model is None:
            notes.append(
                f"evidence: {name} is left out: {fit.method} is no least-squares fit of a model to all b-values"
            )
        elif not whole:
            notes.append(f"evidence: {name} is left out: it used some of the b-values alone")
        else:
            model = MODELS[record.model]
            known = sum(fit.options.get(key) is not None for key in ("s0", "dstar"))
            candidates.append(Candidate(name, fit, model, len(model.keys) - known))
    return candidates, notes


def _squares(voxels: VoxelStore, candidate: Candidate) -> NDArray[np.float64]:
    """Σ n r² (voxel,) of a fit; inf where there is none."""
    squares = np.full(len(voxels), np.inf)
    for start in range(0, len(voxels), BLOCK):
        stop = min(start + BLOCK, len(voxels))
        values = {key: candidate.fit.read_field(key, start, stop) for key in candidate.model.keys}
        if "f" in values:  # without blood D* may be anything, NaN too
            values["dstar"] = np.where(values["f"] == 0, 0.0, values["dstar"])
        rest = candidate.model.signals(values, voxels.bvalues) - voxels.read(start, stop)
        found = np.sum(voxels.weights * rest * rest, axis=1)
        squares[start:stop] = np.where(np.isfinite(found), found, np.inf)
    return squares


def _sigma(
    voxels: VoxelStore, squares: NDArray[np.float64], parameters: list[int], given: float | None
) -> tuple[float, str]:
    """The noise SD of one image, 0 where nothing tells it, and a sentence that says where it comes from."""
    if given is not None:
        return given, f"evidence: noise SD {given:.4g}, as given"
    known = float(voxels.attrs.get("sigma", 0.0))
    if known > 0:
        return known, f"evidence: noise SD {known:.4g}, as the store says"
    n, levels = len(voxels.bvalues), []
    for row, k in zip(squares, parameters, strict=True):
        told = row[np.isfinite(row) & (row > 0)]
        if len(told) >= FEWEST and n > k:
            levels.append(sigma_of_squares(told, n - k))
    if not levels:
        return 0.0, "evidence: nothing tells the noise level, so that chi-square refuses no model"
    return min(
        levels
    ), f"evidence: noise SD {min(levels):.4g} of one image, from the residuals of the model that leaves least"


def criteria(
    squares: NDArray[np.float64], n: int, parameters: list[int], sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """AICc, BIC and what χ² refuses, (candidate, voxel) each; see the module.

    Parameters
    ----------
    squares : (candidate, voxel) Σ n r²
    n : number of b-values
    parameters : (candidate,) numbers of fitted parameters
    sigma : noise SD of one image, 0 where it is not known
    """
    from scipy.special import chdtri  # the inverse of the chi-square distribution; scipy.stats loads slowly

    k = np.array(parameters, float)[:, None]
    if sigma > 0:
        misfit = squares / sigma**2
        freedom = n - k
        limit = np.where(freedom > 0, chdtri(np.maximum(freedom, 1), BY_CHANCE), np.inf)
        return misfit + 2 * k, misfit + k * np.log(n), misfit > limit
    with np.errstate(divide="ignore"):
        misfit = n * np.log(squares / n)
    k = k + 1
    correction = np.where(n - k - 1 > 0, 2 * k * (k + 1) / np.maximum(n - k - 1, 1), np.inf)
    return misfit + 2 * k + correction, misfit + k * np.log(n), np.zeros(squares.shape, bool)


def support(models: list[str], criterion: NDArray[np.float64], refused: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The codes (voxel,) of the models that the data support, by the least of a criterion (candidate, voxel)."""
    fitted = np.isfinite(criterion).any(axis=0)
    codes = np.array([list(MODELS).index(model) + 1 for model in models], np.uint8)
    chosen = codes[np.argmin(np.where(refused, np.inf, criterion), axis=0)]
    chosen = np.where(refused.all(axis=0), NONE, chosen)
    return np.where(fitted, chosen, NOT_FITTED).astype(np.uint8)


def evidence_rows(evidence: Evidence, tissues: dict[str, NDArray[np.bool_]], n: int) -> list[EvidenceRow]:
    """The evidence tissue by tissue; `n` is the number of b-values.

    The last row of a tissue is "none of them".
    """
    rows: list[EvidenceRow] = []
    for tissue, inside in tissues.items():
        codes = evidence.supported[inside]
        count = max(int(np.sum(codes != NOT_FITTED)), 1)
        seen: set[str] = set()
        for i, (name, model, k) in enumerate(zip(evidence.names, evidence.models, evidence.parameters, strict=True)):
            own = list(MODELS).index(model) + 1
            reduced = evidence.squares[i, inside] / (evidence.sigma**2 * (n - k)) if evidence.sigma > 0 and n > k else np.full(1, np.nan)  # fmt: skip
            share = float(np.sum(codes == own) / count) if model not in seen else 0.0
            seen.add(model)
            rows.append(EvidenceRow(tissue, model, name, k, len(codes), _middle(reduced), _middle(evidence.aicc[i, inside]),
                                    _middle(evidence.bic[i, inside]), float(evidence.refused[i, inside].mean()), share))  # fmt: skip
        nan = float("nan")
        rows.append(EvidenceRow(tissue, CODES[NONE], "", 0, len(codes), nan, nan, nan, nan, float(np.sum(codes == NONE) / count)))  # fmt: skip
    return rows


def _middle(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
