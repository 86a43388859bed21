"""What a comparison writes: tables and pictures."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from numpy.typing import NDArray

from ivimsc.compare.columns import Column
from ivimsc.compare.stage import TRUTH, Comparison, named_fits, outcome_counts
from ivimsc.compare.table import write_csv
from ivimsc.files import make_folder, refuse_existing
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["write_comparison"]


def write_comparison(voxels: VoxelStore, fits: list[EstimateStore], comparison: Comparison, out: Path, stem: str,
                     force: bool = False) -> list[Path]:  # fmt: skip
    """Write ``<stem>_compare.csv``, ``<stem>_agreement.csv``, a figure per fit, and ``<stem>_maps.png`` of all fits.

    The evidence for models is ``<stem>_evidence.csv`` and a map of the model that each voxel supports. Without truth and with one fit, ``<stem>_compare.csv`` holds what the fit found.

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
    from ivimsc.compare.figure import draw, draw_maps  # matplotlib is loaded only where something is drawn
    from ivimsc.compare.support_map import support_paths, write_support
    from ivimsc.figures import Slice

    named = named_fits(voxels, fits)
    names = list(named)
    against = [(TRUTH, name) for name in names] if comparison.rows else [(names[0], name) for name in names[1:]]
    table = comparison.rows or ([] if comparison.agreements else comparison.found)
    evidence = comparison.evidence
    tables = {
        out / f"{stem}_compare.csv": table,
        out / f"{stem}_agreement.csv": comparison.agreements,
        out / f"{stem}_evidence.csv": [] if evidence is None else evidence.rows,
    }
    figures = {out / f"{stem}_compare_{name}.png": (first, name) for first, name in against}
    maps, support = out / f"{stem}_maps.png", [] if evidence is None else support_paths(out, stem)
    for path in (*(path for path, rows in tables.items() if rows), *figures, maps, *support):
        refuse_existing(path, force)
    make_folder(out)
    written = [write_csv(rows, path, force) for path, rows in tables.items() if rows]
    columns = {name: _columns(fit.read_field, fit.keys, len(fit)) for name, fit in named.items()}
    if voxels.has_truth:
        columns[TRUTH] = _columns(voxels.read_truth, voxels.truth_keys, len(voxels))
    place = Slice(voxels.index, voxels.geometry)
    for path, (first, name) in figures.items():
        written.append(draw(columns[name], columns[first], (first, name), place, path, force))
    order = [TRUTH, *names] if voxels.has_truth else names
    counts = {name: outcome_counts(fit) for name, fit in named.items()}
    written.append(draw_maps({name: columns[name] for name in order}, counts, place, maps, force))
    if evidence is not None:
        written += write_support(evidence.supported, voxels, place, out, stem, force)
    return written


def _columns(read: Callable[[str, int, int], NDArray], keys: Iterable[str], n: int) -> dict[str, Column]:
    """Key -> (voxel,) of a store, read as it is asked for."""
    return {key: Column(partial(read, key), n) for key in keys}
