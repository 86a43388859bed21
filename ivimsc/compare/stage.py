"""The stage: stores in, rows out."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.bound import Bound, smallest_error
from ivimsc.compare.evidence import Evidence, EvidenceRow, evidence_of, evidence_rows
from ivimsc.compare.lowest import mean_bound, mean_cramer_rao
from ivimsc.compare.table import Agreement, Row, agreement_row, bound_row, error_row, write_csv
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.files import make_folder, refuse_existing
from ivimsc.outcome import Outcome
from ivimsc.physics.models import MODELS
from ivimsc.physics.parameters import MORE_PARAMETERS, PARAMETERS, Parameter
from ivimsc.physics.protocol import select_bvalues
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["Comparison", "compare", "name_fits", "write_comparison"]

ALL = "all"
BOUNDED = PARAMETERS[1:]  # f, D, D*, which the smallest possible error is computed for
SHOWN = (*BOUNDED, *MORE_PARAMETERS)
BLOCK = 2**18  # voxels of a store read at once


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    rows : errors, empty without truth
    agreements : every pair of methods
    outcomes : method -> outcome -> share of the voxels
    speeds : method -> voxels/s, as the estimate store says
    notes : sentences for the user
    evidence : for the models of the fits, voxel by voxel; None where fewer than two models are compared
    evidence_rows : the same by tissue
    """

    rows: list[Row]
    agreements: list[Agreement]
    outcomes: dict[str, dict[Outcome, float]]
    speeds: dict[str, float]
    notes: list[str] = field(default_factory=list)
    evidence: Evidence | None = None
    evidence_rows: list[EvidenceRow] = field(default_factory=list)


def compare(
    voxels: VoxelStore,
    fits: list[EstimateStore],
    launch: Launch,
    bound: bool = True,
    seed: int = 0,
    sigma: float | None = None,
) -> Comparison:
    """Compare fits of one voxel store, in the parameters that they have, and in the evidence for their models.

    Parameters
    ----------
    voxels, fits : open stores
    launch : where the bound is computed: CPU threads
    bound : compute the smallest possible error (needs truth and a simulated noise level)
    seed : of the bound's choice of voxels
    sigma : noise SD of one image for the evidence [unit of the signal]; None: as the store or the residuals tell it

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        for estimates that do not belong to the voxels, and for none
    """
    named = name_fits(voxels, fits)
    tissues = _tissues(voxels)
    model = str(voxels.attrs.get("model", "biexp"))
    notes: list[str] = []
    rows: list[Row] = []
    if voxels.truth is None:
        notes.append("no truth in this store: agreement between the methods")
    else:
        if bound and model != "biexp":
            notes.append(
                f"no smallest possible error for the model {model}: the Cramér-Rao bound stands beside the methods"
            )
        bounds = _bounds(voxels, named, launch, seed, notes) if bound and model == "biexp" else {}
        for tissue, inside in tissues.items():
            rows += _error_rows(voxels, named, bounds, tissue, inside)
    names = list(named)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    agreements = [
        agreement_row(tissue, pair, p, named[pair[0]][p.key][inside], named[pair[1]][p.key][inside])
        for tissue, inside in tissues.items() for pair in pairs for p in _common(*(named[name] for name in pair))
    ]  # fmt: skip
    outcomes = {name: _shares(fit) for name, fit in named.items()}
    speeds = {name: len(fit) / fit.seconds if fit.seconds > 0 else float("nan") for name, fit in named.items()}
    evidence = evidence_of(voxels, named, sigma)
    by_tissue = [] if evidence is None else evidence_rows(evidence, tissues, len(voxels.bvalues))
    notes += [] if evidence is None else evidence.notes
    return Comparison(rows, agreements, outcomes, speeds, notes, evidence, by_tissue)


def _common(*fits: EstimateStore) -> list[Parameter]:
    """Those of f, D, D* and what models have beside them that all of these fits have."""
    return [p for p in SHOWN if all(p.key in fit.keys for fit in fits)]


def name_fits(voxels: VoxelStore, fits: list[EstimateStore]) -> dict[str, EstimateStore]:
    """Give every fit a name: its method, or its file's name where a method comes twice.

    Parameters
    ----------
    voxels, fits : open stores

    Returns
    -------
    name -> fit, in the order given

    Raises
    ------
    InputError
        for no fit, for a fit of other voxels, and for the same fit twice
    """
    if not fits:
        raise InputError("compare: found no estimate store, expected at least one")
    for fit in fits:
        if fit.signals_sha256 != voxels.signals_sha256:
            raise InputError(f"{fit.path}: found estimates of other signals (checksum {fit.signals_sha256[:8]}…), expected those of {voxels.path} ({voxels.signals_sha256[:8]}…)")  # fmt: skip
        if len(fit) != len(voxels):
            raise InputError(f"{fit.path}: found {len(fit)} voxels, expected {len(voxels)} as in {voxels.path}")
    methods = [fit.method for fit in fits]
    names = [m if methods.count(m) == 1 else fit.path.stem for m, fit in zip(methods, fits, strict=True)]
    if len(set(names)) < len(names):
        raise InputError(f"compare: found {max(names, key=names.count)} twice, expected different estimate stores")
    return dict(zip(names, fits, strict=True))


def _tissues(voxels: VoxelStore) -> dict[str, NDArray[np.bool_]]:
    """Name -> (voxel,) bool: all voxels, then every labelled tissue that occurs, if there is more than one."""
    inside = {ALL: np.ones(len(voxels), bool)}
    if voxels.tissue is not None:
        codes = [code for code in np.unique(voxels.tissue) if code in voxels.tissue_names]
        if len(codes) > 1:
            inside |= {voxels.tissue_names[int(code)]: voxels.tissue == code for code in codes}
    return inside


def _kind(fit: EstimateStore) -> tuple[tuple[float, ...], bool]:
    """What a fit was given, which decides its bound: its b-values, and whether it knew S0."""
    return tuple(fit.bvalues), fit.options.get("s0") is not None


class _Some:
    """Signals (voxel, b) of a store, some of its b-values, of which only the voxels that are asked for stay in memory."""

    def __init__(self, voxels: VoxelStore, columns: NDArray[np.intp]) -> None:
        self._voxels, self._columns = voxels, columns

    def __getitem__(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """The signals of the voxels `places`, which ascend."""
        parts = []
        for start in range(0, len(self._voxels), BLOCK):
            here = places[np.searchsorted(places, start) : np.searchsorted(places, start + BLOCK)]
            if len(here):
                parts.append(self._voxels.read(here[0], here[-1] + 1)[here - here[0]][:, self._columns])
        return np.concatenate(parts)


def _bounds(
    voxels: VoxelStore, named: dict[str, EstimateStore], launch: Launch, seed: int, notes: list[str]
) -> dict[tuple, Bound]:
    """The smallest possible error for every kind of fit among those compared."""
    sigma, noise = float(voxels.attrs.get("sigma", 0.0)), voxels.attrs.get("noise")
    if not sigma > 0:
        notes.append("no bounds: the store does not say that its signals have noise, and how much")
        return {}
    bounds = {}
    for kind in dict.fromkeys(_kind(fit) for fit in named.values()):
        used, s0_known = kind
        columns = select_bvalues(voxels.bvalues, np.array(used), "compare")
        try:
            found = smallest_error(_Some(voxels, columns), voxels.truth, np.array(used), sigma,
                                   noise == "rician", s0_known, launch, seed)  # fmt: skip
        except InputError as error:
            notes.append(str(error))
            return {}
        bounds[kind] = found
        words = f"S0 {'known' if s0_known else 'unknown'}, b = {', '.join(f'{b:g}' for b in used)} s/mm²"
        notes.append(f"smallest possible error ({words}): {len(found.tested)} voxels, median effective sample size {found.ess:.0f}"
                     + (": too few draws for this noise level, the bound is unreliable" if found.thin else ""))  # fmt: skip
    return bounds


def _error_rows(voxels: VoxelStore, named: dict[str, EstimateStore], bounds: dict[tuple, Bound], tissue: str,
                inside: NDArray[np.bool_]) -> list[Row]:  # fmt: skip
    """Rows of one tissue: the constant guess, the bounds of every kind of fit, the methods."""
    where = slice(None) if inside.all() else inside  # no copy of all voxels
    true = {key: values[where] for key, values in voxels.truth.items()}
    best = {kind: bound.mean("noisy", inside) for kind, bound in bounds.items()}
    free = {kind: bound.mean("noise_free", inside) for kind, bound in bounds.items()}
    sigma = float(voxels.attrs.get("sigma", 0.0))
    lowest = {kind: mean_cramer_rao(true, kind, sigma) for kind in bounds}
    model = MODELS.get(str(voxels.attrs.get("model", "biexp"))) if sigma > 0 and not bounds else None
    rows = []
    for p in (p for p in SHOWN if p.key in true and np.isfinite(true[p.key]).any()):
        bounded = p in BOUNDED
        i = BOUNDED.index(p) if bounded else 0
        first = next(iter(best.values()))[0][i] if best and bounded else float("nan")
        guess = np.broadcast_to(np.nanmean(true[p.key], dtype=np.float64), true[p.key].shape)
        rows.append(error_row(tissue, "constant guess", p, guess, true[p.key], first))
        if model is not None and p.key in model.keys:
            rows.append(bound_row(tissue, "Cramér-Rao bound", p, mean_bound(voxels, true, model, p.key), true[p.key], float("nan")))  # fmt: skip
        for number, kind in enumerate(bounds if bounded else ()):
            suffix = "" if len(bounds) == 1 else f" [{number + 1}]"
            mse, error = best[kind][0][i], best[kind][1][i]
            rows.append(bound_row(tissue, f"Cramér-Rao bound{suffix}", p, lowest[kind][i], true[p.key], mse))
            rows.append(bound_row(tissue, f"smallest possible{suffix}", p, mse, true[p.key], mse, error))
            rows.append(
                bound_row(
                    tissue,
                    f"the same, noise-free signals{suffix}",
                    p,
                    free[kind][0][i],
                    true[p.key],
                    mse,
                    free[kind][1][i],
                )
            )
        for name, fit in ((name, fit) for name, fit in named.items() if p.key in fit.keys):
            mse = best[_kind(fit)][0][i] if best and bounded else float("nan")
            rows.append(error_row(tissue, name, p, fit[p.key][where], true[p.key], mse))
    return rows


def _shares(fit: EstimateStore) -> dict[Outcome, float]:
    counts = np.bincount(fit["outcome"], minlength=len(Outcome)) / max(len(fit), 1)
    return {outcome: float(counts[outcome]) for outcome in Outcome if counts[outcome]}


def write_comparison(voxels: VoxelStore, fits: list[EstimateStore], comparison: Comparison, out: Path, stem: str,
                     force: bool = False) -> list[Path]:  # fmt: skip
    """Write ``<stem>_compare.csv``, ``<stem>_agreement.csv``, a figure per fit, and the evidence for the models.

    Parameters
    ----------
    voxels, fits : open stores, as for `compare`
    comparison : from `compare`
    out : folder; made if it is not there
    stem : how the names begin
    force : replace files of the same names

    Returns
    -------
    the files

    Raises
    ------
    InputError
        if a file exists (without `force`) or cannot be written; nothing is written then
    """
    from ivimsc.compare.figure import draw  # matplotlib is loaded only where something is drawn
    from ivimsc.compare.support_map import support_paths, write_support

    named = name_fits(voxels, fits)
    names = list(named)
    against = [("truth", name) for name in names] if comparison.rows else [(names[0], name) for name in names[1:]]
    tables = {
        out / f"{stem}_compare.csv": comparison.rows,
        out / f"{stem}_agreement.csv": comparison.agreements,
        out / f"{stem}_evidence.csv": comparison.evidence_rows,
    }
    maps = [] if comparison.evidence is None else support_paths(out, stem)
    figures = {out / f"{stem}_compare_{name}.png": (first, name) for first, name in against}
    for path in (*(path for path, rows in tables.items() if rows), *figures, *maps):
        refuse_existing(path, force)
    make_folder(out)
    written = [write_csv(rows, path, force) for path, rows in tables.items() if rows]
    index = voxels.index[:]
    for path, (first, name) in figures.items():
        other = voxels.truth if first == "truth" else _estimates(named[first])
        found = _estimates(named[name])
        written.append(draw(found, other, (first, name), index, voxels.geometry, path, force))
    if comparison.evidence is not None:
        written += write_support(comparison.evidence.supported, index, voxels.geometry, out, stem, force)
    return written


def _estimates(fit: EstimateStore) -> dict[str, NDArray]:
    """f, D, D* and so on (voxel,) of a fit, by key, as far as it has them."""
    return {p.key: fit[p.key] for p in _common(fit)}
