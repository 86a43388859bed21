"""Learned dictionaries beside the fixed one: out of a model, into the dictionary file of `ista`, a table and a figure."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ivimsc.errors import InputError
from ivimsc.files import written_whole
from ivimsc.models import Layout, Model, read_model, require_layout
from ivimsc.physics.dictionary import Dictionary
from ivimsc.store.dictionaries import write_dictionary

__all__ = ["Comparison", "compare_dictionaries", "draw_comparison", "export_dictionary", "learned_dictionary"]


SEEN = 0.01  # of S0: what an atom has to be at the smallest b-value


def learned_dictionary(model: Model, unit: int | None = None) -> Dictionary:
    """The dictionary Φ that a factored scdnn for one protocol has learned.

    Atoms that are nearly 0 at the smallest b-value are left out: those of the largest D*, which decay before it. `ista`
    proves its answers by a b-value at which every atom is positive.

    Parameters
    ----------
    model : a factored scdnn for one protocol
    unit : number of an iteration unit, 1 .. T; None for the mean over all units

    Returns
    -------
    Dictionary with the model's b-values [s/mm²], its grids [mm²/s] and its matrix (b, atom)

    Raises
    ------
    InputError
        for a model without a dictionary (another method, free layers, one that finds S0), and a unit that it has not
    """
    if model.method != "scdnn" or model.finds_s0 or "phi" not in model.arrays:
        kind = (
            "general"
            if model.general
            else "that finds S0"
            if model.finds_s0
            else model.about["options"].get("form", "")
        )
        raise InputError(f"{model.source}: found a model of {model.method} {kind}".rstrip() + ", expected a factored scdnn for one protocol: only that has a dictionary")  # fmt: skip
    require_layout(
        model,
        Layout(
            {"phi": ("unit", "input", "atom"), "grid": ("atom",)}, dict.fromkeys(("w", "thresholds"), None), ("atom",)
        ),
    )
    if len(model.arrays["phi"]) < 2:
        raise InputError(f"{model.source}: found no unit, expected at least 1")
    phi = model.arrays["phi"].astype(np.float64)[1:]
    if unit is not None and not 1 <= unit <= len(phi):
        raise InputError(f"unit: found {unit}, expected 1 to {len(phi)}, the units of {model.source}")
    atoms = phi.mean(0) if unit is None else phi[unit - 1]
    grid = model.arrays["grid"].astype(np.float64) * 1e-3
    half = len(grid) // 2
    order = np.concatenate([np.argsort(grid[:half]), half + np.argsort(grid[half:])])
    order = order[atoms[0, order] > SEEN]
    D, Dstar = np.split(grid[order], [np.sum(order < half)])
    name = f"{Path(model.source).name}, {'mean of its units' if unit is None else f'unit {unit}'}"
    return Dictionary(model.bvalues, D, Dstar, name, atoms[:, order])


def export_dictionary(path: Path, out: Path, unit: int | None = None, force: bool = False) -> Dictionary:
    """Write the dictionary that a model has learned as a dictionary file, which ``fit --method ista`` takes.

    Parameters
    ----------
    path : model file (.safetensors)
    out : dictionary file to write (.h5)
    unit : as in `learned_dictionary`
    force : write over an earlier file

    Returns
    -------
    The dictionary that was written

    Raises
    ------
    InputError
        as `learned_dictionary`; and where `out` exists and `force` is not set
    """
    dictionary = learned_dictionary(read_model(path), unit)
    write_dictionary(out, dictionary, force)
    return dictionary


@dataclass(frozen=True)
class Comparison:
    """A learned dictionary beside the exponentials of its own grid.

    distance (atom,): of each learned atom from its exponential, relative; sits (atom,): the diffusivity [mm²/s] of the
    exponential nearest to the learned atom (any amplitude); lines: the same in words.
    """

    fixed: Dictionary
    learned: Dictionary
    distance: NDArray[np.float64]
    sits: NDArray[np.float64]
    lines: list[str]


def compare_dictionaries(learned: Dictionary) -> Comparison:
    """Compare a learned dictionary with the exponentials of its own grid.

    Parameters
    ----------
    learned : dictionary with a matrix (b, atom) of its own

    Returns
    -------
    Comparison : how far each atom went, which exponential it is nearest to, and what that did to coherence and rank
    """
    fixed = Dictionary(learned.bvalues, learned.D, learned.Dstar)
    grid = np.concatenate([fixed.D, fixed.Dstar])
    distance = np.linalg.norm(learned.matrix - fixed.matrix, axis=0) / np.linalg.norm(fixed.matrix, axis=0)
    rates = np.geomspace(1e-6, 1.0, 4000)
    curves = np.exp(-np.outer(learned.bvalues, rates))
    cosine = (curves / np.linalg.norm(curves, axis=0)).T @ (learned.matrix / np.linalg.norm(learned.matrix, axis=0))
    sits = rates[np.argmax(cosine, axis=0)]
    off = np.abs(np.log(sits / grid))
    half, sigma = len(fixed.D), 1 / 30
    parts = (("D", slice(0, half)), ("D*", slice(half, None)))
    lines = [
        f"{learned.origin}: {half} atoms of D, {len(grid) - half} of D* (seen at the smallest b-value), at b = {', '.join(f'{b:g}' for b in learned.bvalues)} s/mm²"
    ]
    for name, part in parts:
        values = f"{np.median(distance[part]):.3f} (median), {distance[part].max():.3f} (most)"
        lines.append(
            f"{name} atoms: distance from exp(-b {name}) {values}; nearest exponential off by {100 * np.median(off[part]):.1f} % (median)"
        )
    for word, one in (("fixed", fixed), ("learned", learned)):
        lines.append(
            f"{word}: coherence of neighbours {one.coherence:.8f}, effective rank {one.effective_rank(sigma)} of {len(one.bvalues)} at SNR 30, {one.effective_rank()} at SNR 1000, least entry {one.matrix.min():.3f}"
        )
    return Comparison(fixed, learned, distance, sits, lines)


def draw_comparison(comparison: Comparison, path: Path, force: bool = False) -> None:
    """A picture: some atoms over b, fixed and learned; and where every learned atom sits on the axis of diffusivities."""
    import matplotlib  # loaded only where something is drawn

    from ivimsc.figures import bare, new_figure, save

    fixed, learned = comparison.fixed, comparison.learned
    half, grid = len(fixed.D), np.concatenate([fixed.D, fixed.Dstar]) * 1e3
    figure, (left, right) = new_figure(1, 2, (11, 4.4))
    picks = np.unique(
        np.concatenate(
            [np.linspace(half // 3, half - 1, 4).astype(int), np.linspace(half, len(grid) - 1, 4).astype(int)]
        )
    )
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(picks)))
    b = np.linspace(0, fixed.bvalues[-1], 300)
    for colour, j in zip(colours, picks, strict=True):
        left.plot(
            b, np.exp(-b * grid[j] * 1e-3), color=colour, lw=1, label=f"{'D' if j < half else 'D*'} {grid[j]:.3g}"
        )
        left.plot(fixed.bvalues, learned.matrix[:, j], "o", color=colour, ms=5, mec="white", mew=0.5)
    left.set(xlabel="b [s/mm²]", ylabel="atom", title="lines: exp(-b D); points: learned")
    left.legend(
        fontsize=8,
        frameon=False,
        title="D, D* of the grid [µm²/ms]",
        title_fontsize=8,
        ncols=4,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
    )
    for name, part, colour in (("D", slice(0, half), "#2a788e"), ("D*", slice(half, None), "#d1495b")):
        right.plot(grid[part], comparison.sits[part] * 1e3, ".", color=colour, ms=4, label=f"atoms of {name}")
    right.plot(grid[[0, -1]], grid[[0, -1]], color="black", lw=0.8, label="as fixed")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="grid: D, D* [µm²/ms]",
        ylabel="nearest exponential [µm²/ms]",
        title="where the learned atoms sit",
    )
    right.set_ylim(grid[0] / 2, 6 * grid[-1])
    right.legend(fontsize=8, frameon=False)
    for axes in (left, right):
        bare(axes)
    with written_whole(path, force) as temporary:
        save(figure, temporary)
