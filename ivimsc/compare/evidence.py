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

from ivimsc.compare.columns import Column, blocks, values_at
from ivimsc.compare.lowest import spread_out
from ivimsc.compare.regions import Part, here
from ivimsc.errors import InputError
from ivimsc.methods import METHODS
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.physics.models import MODELS, Model, predicted
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["CODES", "NONE", "NOT_FITTED", "Evidence", "EvidenceRow", "criteria", "evidence_of", "support"]

NONE, NOT_FITTED = 9, 0
CODES = {NOT_FITTED: "not fitted"} | dict(enumerate(MODELS, start=1)) | {NONE: "none of them"}
BY_CHANCE = 1e-4  # share of the voxels that χ² refuses by noise alone
FEWEST = 30  # voxels whose residuals tell a noise level
SAMPLE = 2**20  # voxels whose residuals tell the noise level and the medians


class Candidate(NamedTuple):
    """A fit as evidence for a model: its name among the fits, the model, and how many parameters were fitted."""

    name: str
    fit: EstimateStore
    model: Model
    parameters: int


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


@dataclass(frozen=True)
class Evidence:
    """The evidence of fits for their models.

    Attributes
    ----------
    sigma : noise SD of one image [unit of the signal], 0 where it is not known
    supported : (voxel,) codes: see `CODES`
    rows : tissue by tissue: a row for each fit, and one for "none of them"
    notes : sentences for the user
    """

    sigma: float
    supported: NDArray[np.uint8]
    rows: list[EvidenceRow]
    notes: list[str]


@dataclass
class _Counts:
    """Voxels of a tissue: all, those refused (candidate,), and those of each code."""

    voxels: int
    refused: NDArray[np.intp]
    codes: NDArray[np.intp]


def evidence_of(
    voxels: VoxelStore, named: dict[str, EstimateStore], tissues: dict[str, Part], sigma: float | None = None
) -> Evidence | None:
    """The evidence of fits of one store, block by block; None where fewer than two models were fitted by least squares.

    The noise level that residuals tell, and the medians of the rows, are those of `SAMPLE` voxels at most, evenly spread.

    Parameters
    ----------
    voxels : open store
    named : name -> open store of a fit
    tissues : name -> the voxels that the rows are of
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
    b, parameters, models = voxels.bvalues, [c.parameters for c in candidates], [c.model.name for c in candidates]
    places = spread_out(len(voxels), None, SAMPLE)
    sample = np.stack([_sampled(voxels, candidate, places) for candidate in candidates])
    level, told = _sigma(voxels, sample, parameters, sigma)
    supported = np.empty(len(voxels), np.uint8)
    counts = {tissue: _Counts(0, np.zeros(len(candidates), np.intp), np.zeros(NONE + 1, np.intp)) for tissue in tissues}
    labelled = any(isinstance(part, int) for part in tissues.values())
    for block in blocks(len(voxels)):
        squares = np.stack([_squares(voxels, candidate, block) for candidate in candidates])
        _, bic, refused = criteria(squares, len(b), parameters, level)
        supported[block] = codes = support(models, bic, refused)
        labels = voxels.read_tissue(block.start, block.stop) if labelled else None
        for tissue, part in tissues.items():
            inside = here(part, labels, block)
            one = counts[tissue]
            one.voxels += len(codes[inside])
            one.refused += refused[:, inside].sum(axis=1)
            one.codes += np.bincount(codes[inside], minlength=NONE + 1)
    labels = values_at(Column(voxels.read_tissue, len(voxels)), places) if labelled else None
    rows = []
    for tissue, part in tissues.items():
        rows += _rows(tissue, counts[tissue], candidates, sample[:, here(part, labels, places)], len(b), level)
    return Evidence(level, supported, rows, [*notes, told])


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


def _squares(voxels: VoxelStore, candidate: Candidate, rows: slice) -> NDArray[np.float64]:
    """Σ n r² (voxel,) of a fit, of the voxels `rows`; inf where there is none."""
    values = {key: candidate.fit.read_field(key, rows.start, rows.stop).astype(np.float64) for key in candidate.model.keys}  # fmt: skip
    rest = predicted(values, voxels.bvalues) - voxels.read(rows.start, rows.stop)
    found = np.sum(voxels.weights * rest * rest, axis=1)
    return np.where(np.isfinite(found), found, np.inf)


def _sampled(voxels: VoxelStore, candidate: Candidate, places: NDArray[np.intp]) -> NDArray[np.float64]:
    """Σ n r² (voxel,) of a fit, of some voxels, which ascend."""
    return values_at(Column(lambda start, stop: _squares(voxels, candidate, slice(start, stop)), len(voxels)), places)


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


def _rows(
    tissue: str, counts: _Counts, candidates: list[Candidate], squares: NDArray[np.float64], n: int, sigma: float
) -> list[EvidenceRow]:
    """The rows of one tissue, of which some voxels have `squares` (candidate, voxel); n b-values. The last is "none of them"."""
    nan, seen, rows = float("nan"), set(), []
    fitted = max(int(counts.codes.sum() - counts.codes[NOT_FITTED]), 1)
    aicc, bic, _ = criteria(squares, n, [c.parameters for c in candidates], sigma)
    for i, (name, _fit, model, k) in enumerate(candidates):
        reduced = _middle(squares[i]) / (sigma**2 * (n - k)) if sigma > 0 and n > k else nan
        share = counts.codes[list(MODELS).index(model.name) + 1] / fitted if model.name not in seen else 0.0
        seen.add(model.name)
        refused = float(counts.refused[i] / max(counts.voxels, 1))
        rows.append(EvidenceRow(tissue, model.name, name, k, counts.voxels, reduced, _middle(aicc[i]), _middle(bic[i]), refused, float(share)))  # fmt: skip
    rows.append(EvidenceRow(tissue, CODES[NONE], "", 0, counts.voxels, nan, nan, nan, nan, float(counts.codes[NONE] / fitted)))  # fmt: skip
    return rows


def _middle(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")
