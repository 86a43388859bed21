"""The stage: stores in, rows out."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.bound import Bound, smallest_error
from ivimsc.compare.columns import Column, blocks, values_at
from ivimsc.compare.evidence import Evidence, evidence_of
from ivimsc.compare.lowest import mean_bound, mean_cramer_rao, spread_out, truth_at
from ivimsc.compare.moments import Pair
from ivimsc.compare.regions import Part, hard_parts, here
from ivimsc.compare.table import (
    Agreement,
    Found,
    Row,
    agreement_row,
    bound_row,
    error_row,
    found_row,
    guess_row,
)
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.outcome import Outcome
from ivimsc.physics.models import MODELS
from ivimsc.physics.parameters import MORE_PARAMETERS, PARAMETERS, Parameter
from ivimsc.physics.protocol import select_bvalues
from ivimsc.store import EstimateStore, VoxelStore, name_fits

__all__ = ["TRUTH", "Comparison", "compare", "named_fits", "outcome_counts"]

ALL, TRUTH = "all", "truth"
BOUNDED = PARAMETERS[1:]  # f, D, D*, which the smallest possible error is computed for
SHOWN = (*BOUNDED, *MORE_PARAMETERS)
CHOICE = 2**20  # voxels of a store that the bound chooses from
MOST_IN_PARTS = (
    4_000_000  # voxels of a store whose parts near edges are looked for: that takes the whole volume at once
)


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
    found : mean and spread of what every method found
    evidence : for the models of the fits, voxel by voxel; None where fewer than two models are compared
    """

    rows: list[Row]
    agreements: list[Agreement]
    outcomes: dict[str, dict[Outcome, float]]
    speeds: dict[str, float]
    notes: list[str] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    evidence: Evidence | None = None


def compare(
    voxels: VoxelStore,
    fits: list[EstimateStore],
    launch: Launch,
    bound: bool = True,
    seed: int = 0,
    sigma: float | None = None,
) -> Comparison:
    """Compare fits of one voxel store, in the parameters that they have, and in the evidence for their models.

    Stores are read block by block.

    Parameters
    ----------
    voxels, fits : open stores
    launch : where the bound is computed: CPU threads, and those of a cluster where `launch.cluster` is one
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
    named, tissues = named_fits(voxels, fits), _tissues(voxels)
    model = str(voxels.attrs.get("model", "biexp"))
    notes: list[str] = []
    bounds: dict[tuple, Bound] = {}
    if not voxels.has_truth:
        notes.append("no truth in this store: " + ("agreement between the methods" if len(named) > 1 else "what the method found"))  # fmt: skip
    elif bound and model != "biexp":
        known = ": the Cramér-Rao bound stands beside the methods" if model in MODELS else ""
        notes.append(f"no smallest possible error for the model {model}{known}")
    elif bound:
        bounds = _bounds(voxels, named, launch, seed, notes)
        notes += _what_the_bound_is(named, tissues) if bounds else []
    names = list(named)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    sums = _sums(voxels, named, tissues, pairs)
    rows = [row for tissue in tissues for row in _error_rows(voxels, named, bounds if bound else None, (tissue, tissues[tissue]), sums)] if voxels.has_truth else []  # fmt: skip
    agreements = [
        agreement_row(tissue, pair, p, sums[tissue, *pair, p.key])
        for tissue in tissues for pair in pairs for p in _common(*(named[name] for name in pair))
    ]  # fmt: skip
    found = [
        found_row(tissue, name, p, sums[tissue, name, name, p.key])
        for tissue in tissues for p in SHOWN for name, fit in named.items() if p.key in fit.keys
    ]  # fmt: skip
    outcomes = {name: _shares(fit) for name, fit in named.items()}
    speeds = {name: len(fit) / fit.seconds if fit.seconds > 0 else float("nan") for name, fit in named.items()}
    evidence = evidence_of(voxels, named, tissues, sigma)
    notes += [] if evidence is None else evidence.notes
    return Comparison(rows, agreements, outcomes, speeds, notes, found, evidence)


def _sums(voxels: VoxelStore, named: dict[str, EstimateStore], tissues: dict[str, Part],
          pairs: list[tuple[str, str]]) -> dict[tuple, Pair]:  # fmt: skip
    """(tissue, first, second, key) -> their sums, of truth and fits, fits in pairs, and each with itself; in one pass."""
    sources = {name: (fit.read_field, fit.keys) for name, fit in named.items()}
    pairs = [*pairs, *((name, name) for name in named)]
    if voxels.has_truth:
        sources[TRUTH] = (voxels.read_truth, voxels.truth_keys)
        pairs += [(TRUTH, name) for name in (*named, TRUTH)]
    sums = {(tissue, *pair, p.key): Pair() for tissue in tissues for pair in pairs for p in SHOWN}
    for block in blocks(len(voxels)):
        codes = voxels.read_tissue(block.start, block.stop) if len(tissues) > 1 else None
        inside = {tissue: here(part, codes, block) for tissue, part in tissues.items()}
        for p in SHOWN:
            values = {
                name: read(p.key, block.start, block.stop) for name, (read, keys) in sources.items() if p.key in keys
            }
            for tissue, places in inside.items():
                for a, b in pairs:
                    if a in values and b in values:
                        sums[tissue, a, b, p.key].add(values[a][places], values[b][places], p.display_scale)
    return sums


def _common(*fits: EstimateStore) -> list[Parameter]:
    """Those of f, D, D* and what models have beside them that all of these fits have."""
    return [p for p in SHOWN if all(p.key in fit.keys for fit in fits)]


def named_fits(voxels: VoxelStore, fits: list[EstimateStore]) -> dict[str, EstimateStore]:
    """Name -> fit, each of these voxels; InputError for a fit of others."""
    for fit in fits:
        if fit.signals_sha256 != voxels.signals_sha256:
            raise InputError(f"{fit.path}: found estimates of other signals (checksum {fit.signals_sha256[:8]}…), expected those of {voxels.path} ({voxels.signals_sha256[:8]}…)")  # fmt: skip
        if len(fit) != len(voxels):
            raise InputError(f"{fit.path}: found {len(fit)} voxels, expected {len(voxels)} as in {voxels.path}")
    return name_fits(fits)


def _tissues(voxels: VoxelStore) -> dict[str, Part]:
    """Name -> code: all voxels (None); if there is more than one tissue, every one that occurs; and then, as (voxel,) bool, the
    parts near edges and in small regions (see `hard_parts`).
    """
    if voxels.tissue is None:
        return {ALL: None}
    codes = [int(code) for code in np.unique(voxels.tissue) if code in voxels.tissue_names]
    if len(codes) < 2:
        return {ALL: None}
    parts = {ALL: None} | {voxels.tissue_names[code]: code for code in codes}
    if len(voxels) > MOST_IN_PARTS:
        return parts
    return parts | hard_parts(voxels.index[:], voxels.geometry.shape, voxels.tissue)


def _kind(fit: EstimateStore) -> tuple[tuple[float, ...], bool]:
    """What a fit was given, which decides its bound: its b-values, and whether it knew S0."""
    return tuple(fit.bvalues), fit.options.get("s0") is not None


class _Some:
    """Signals (voxel, b) of some voxels of a store, at some of its b-values; those asked for alone stay in memory."""

    def __init__(self, voxels: VoxelStore, columns: NDArray[np.intp], candidates: NDArray[np.intp]) -> None:
        self._voxels, self._columns, self._candidates = voxels, columns, candidates

    def __getitem__(self, places: NDArray[np.intp]) -> NDArray[np.float32]:
        """The signals of the candidates `places`, which ascend."""
        signals = Column(self._voxels.read, len(self._voxels))
        return values_at(signals, self._candidates[places])[:, self._columns]


def _candidates(n: int, seed: int) -> NDArray[np.intp]:
    """The voxels that the bound chooses from: all, or one of each of `CHOICE` equal parts of a large store."""
    if n <= CHOICE:
        return np.arange(n)
    return ((np.arange(CHOICE) + np.random.Generator(np.random.Philox(seed)).random(CHOICE)) * (n / CHOICE)).astype(
        np.intp
    )


def _bounds(
    voxels: VoxelStore, named: dict[str, EstimateStore], launch: Launch, seed: int, notes: list[str]
) -> dict[tuple, Bound]:
    """The smallest possible error for every kind of fit among those compared."""
    sigma, noise = float(voxels.attrs.get("sigma", 0.0)), voxels.attrs.get("noise")
    if not sigma > 0:
        notes.append("no bounds: the store does not say that its signals have noise, and how much")
        return {}
    bounds, candidates = {}, _candidates(len(voxels), seed)
    truth = truth_at(voxels, candidates)
    for kind in dict.fromkeys(_kind(fit) for fit in named.values()):
        used, s0_known = kind
        columns = select_bvalues(voxels.bvalues, np.array(used), "compare")
        try:
            found = smallest_error(_Some(voxels, columns, candidates), truth, np.array(used), sigma,
                                   noise == "rician", s0_known, launch, seed)  # fmt: skip
        except InputError as error:
            notes.append(str(error))
            return {}
        bounds[kind] = replace(found, tested=candidates[found.tested])
        words = f"S0 {'known' if s0_known else 'unknown'}, b = {', '.join(f'{b:g}' for b in used)} s/mm²"
        notes.append(f"smallest possible error ({words}): {len(found.tested)} voxels, median effective sample size {found.ess:.0f}"
                     + (": too few draws for this noise level, the bound is unreliable" if found.thin else ""))  # fmt: skip
    return bounds


def _error_rows(voxels: VoxelStore, named: dict[str, EstimateStore], bounds: dict[tuple, Bound] | None,
                tissue: tuple[str, Part], sums: dict[tuple, Pair]) -> list[Row]:  # fmt: skip
    """Rows of one tissue (name, voxels): the constant guess, the bounds of every kind of fit (None: none wanted), the methods."""
    (name, part), bounded = tissue, bounds is not None
    bounds = bounds or {}
    inside = part if part is None or isinstance(part, np.ndarray) else voxels.tissue == part
    best = {kind: bound.mean("noisy", inside) for kind, bound in bounds.items()}
    free = {kind: bound.mean("noise_free", inside) for kind, bound in bounds.items()}
    some = truth_at(voxels, spread_out(len(voxels), inside)) if bounded else {}
    lowest = {kind: mean_cramer_rao(some, kind, float(voxels.attrs.get("sigma", 0.0))) for kind in bounds}
    model = mean_bound(voxels, some) if bounded and not bounds else {}
    rows = []
    for p in (p for p in SHOWN if p.key in voxels.truth_keys and sums[name, TRUTH, TRUTH, p.key].first.n):
        i = BOUNDED.index(p) if p in BOUNDED else None
        truth = sums[name, TRUTH, TRUTH, p.key]
        first = next(iter(best.values()))[0][i] if best and i is not None else float("nan")
        rows.append(guess_row(name, p, truth, first))
        if p.key in model:
            rows.append(bound_row(name, "Cramér-Rao bound", p, model[p.key], truth, float("nan")))
        for number, kind in enumerate(bounds if i is not None else ()):
            suffix = "" if len(bounds) == 1 else f" [{number + 1}]"
            mse, error = best[kind][0][i], best[kind][1][i]
            clean = (free[kind][0][i], truth, mse, free[kind][1][i])
            rows.append(bound_row(name, f"Cramér-Rao bound{suffix}", p, lowest[kind][i], truth, mse))
            rows.append(bound_row(name, f"smallest possible{suffix}", p, mse, truth, mse, error))
            rows.append(bound_row(name, f"the same, noise-free signals{suffix}", p, *clean))
        for method, fit in ((method, fit) for method, fit in named.items() if p.key in fit.keys):
            mse = best[_kind(fit)][0][i] if best and i is not None else float("nan")
            rows.append(error_row(name, method, p, sums[name, TRUTH, method, p.key], mse))
    return rows


def _what_the_bound_is(named: dict[str, EstimateStore], tissues: dict[str, Part]) -> list[str]:
    """What the smallest possible error holds for, where a method may be below it."""
    spatial = [name for name, fit in named.items() if fit.options.get("prior") == "spatial"]
    notes = []
    if spatial:
        notes.append(
            f"the smallest possible error is that of voxelwise methods: {', '.join(spatial)} looks at neighbours, and may be below it"
        )
    if len(tissues) > 1:
        notes.append(
            "by tissue and part, it is the smallest possible under the prior of the whole phantom: in one of them a method may be below it"
        )
    return notes


def outcome_counts(fit: EstimateStore) -> NDArray[np.intp]:
    """Voxels per outcome."""
    return sum((np.bincount(fit.read_field("outcome", block.start, block.stop), minlength=len(Outcome)) for block in blocks(len(fit))), np.zeros(len(Outcome), np.intp))  # fmt: skip


def _shares(fit: EstimateStore) -> dict[Outcome, float]:
    shares = outcome_counts(fit) / max(len(fit), 1)
    return {outcome: float(shares[outcome]) for outcome in Outcome if shares[outcome]}
