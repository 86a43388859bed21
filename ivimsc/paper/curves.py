"""Figures 2 and 4: losses over epochs, and dictionaries of several sizes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter

from ivimsc.figures import bare, new_figure, save
from ivimsc.paper.charts import COLOURS
from ivimsc.paper.result import Result, command, ratio_text, spread, table
from ivimsc.paper.runs import Runs
from ivimsc.paper.scores import score
from ivimsc.paper.setting import FIVE, KEYS, NETWORKS, SYMBOLS
from ivimsc.paper.tables import score_lines

__all__ = ["fig2", "fig4"]

ATOMS = (200, 400, 600, 800)
BASE = 600  # atoms: the paper's choice, and the default


@dataclass(frozen=True)
class Loss:
    """A line of fig2.csv: losses of a network after an epoch, from 1."""

    network: str
    seed: int
    epoch: int
    train: float
    validation: float


@dataclass(frozen=True)
class Size:
    """A line of fig4.csv: validation loss and training time [s of CPU] of SCDNN with N atoms."""

    atoms: int
    seed: int
    validation: float
    training: float


def fig2(runs: Runs) -> Result:
    """Losses per epoch of every network."""
    lines = []
    for net in NETWORKS:
        for seed in range(runs.setting.seeds):
            history = runs.train(net, FIVE, seed).history
            pairs = zip(history["train"], history["validation"], strict=True)
            lines += [Loss(net.title, seed, epoch, *pair) for epoch, pair in enumerate(pairs, start=1)]
    rows = []
    for net in NETWORKS:
        mine = [line for line in lines if line.network == net.title]
        first, last = min(line.epoch for line in mine), max(line.epoch for line in mine)
        ends = [[line for line in mine if line.epoch == epoch] for epoch in (first, last)]
        cells = [spread([getattr(line, kind) for line in end], 4) for end in ends for kind in ("train", "validation")]
        rows.append([net.title, *cells, _flat(mine)])
    head = [
        "",
        "training, epoch 1",
        "validation, epoch 1",
        f"training, epoch {last}",
        f"validation, epoch {last}",
        "flat (within 1 % of the best) from epoch",
    ]
    text = f"# Figure 2: losses per epoch\n\n{command('fig2', runs.setting)} Five b-values, SNR 30.\n\n{table(head, rows)}\n{LOSSES}"
    floor = float(np.mean(runs.bounds("cohort-test", False, FIVE).products.mean(0) / runs.truth("cohort-train").var(0)))
    text += f"The smallest possible errors of the test scans come to {floor:.4f} in these units.\n"
    return Result(lines, text, {"fig2.png": partial(_draw_losses, lines=lines, floor=floor)})


LOSSES = """The loss of MLP and SCDNN is the mean over f, D and D* of the squared error over the variance of the training truth: 1 is
what a constant reaches, and the smallest possible error sets a floor above 0. IVIM-NET's is the squared residual of the
signals (S0 = 1), which is not to be compared with the others'. The paper prints a training loss that starts at about 0.33
and a validation loss at about 0.27, both flat after 5 epochs, without saying what is summed.
"""


def _flat(lines: list[Loss]) -> str:
    """The first epoch from which on the validation loss stays within 1 % of its best, the seeds' median."""
    found = []
    for seed in {line.seed for line in lines}:
        losses = np.array([line.validation for line in lines if line.seed == seed])
        above = np.flatnonzero(losses > 1.01 * losses.min())
        found.append(int(above[-1]) + 2 if len(above) else 1)
    return f"{np.median(found):g}"


def _draw_losses(path: Path, lines: list[Loss], floor: float) -> None:
    figure, panels = new_figure(1, 2, (12, 4.8), width_ratios=(2, 1))
    for net in NETWORKS:
        axes = panels[int(net.method == "ivimnet")]
        for seed in sorted({line.seed for line in lines}):
            mine = [line for line in lines if line.network == net.title and line.seed == seed]
            epochs = [line.epoch for line in mine]
            label = net.title if seed == 0 else None
            axes.plot(epochs, [line.validation for line in mine], "-", color=COLOURS[net.title], label=label, alpha=0.9)
            axes.plot(epochs, [line.train for line in mine], ":", color=COLOURS[net.title], alpha=0.7)
    for axes, what in zip(
        panels, ("squared error / variance of the truth", "squared residual of the signals"), strict=True
    ):
        axes.plot([], [], "-", color="0.4", label="validation")
        axes.plot([], [], ":", color="0.4", label="training")
        axes.set(xlabel="epoch", ylabel=f"loss: {what}", yscale="log")
        axes.legend(frameon=False)
        bare(axes)
    panels[0].axhline(floor, color="black", lw=1, ls="--")
    panels[0].annotate(
        "smallest possible, test scans", (10, floor), (0, -4), textcoords="offset points", ha="right", va="top"
    )
    panels[0].set_ylim(bottom=0.88 * floor)
    for axes, steps in zip(
        panels,
        ((0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3), (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05)),
        strict=True,
    ):
        low, high = axes.get_ylim()
        axes.set_yticks([step for step in steps if low <= step <= high])
        axes.yaxis.set_major_formatter("{x:.2g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    figure.suptitle("Losses per epoch (one line per seed)")
    save(figure, path)


def fig4(runs: Runs) -> Result:
    """SCDNN of 200 to 800 atoms: validation error and training time; and the error of the test scans."""
    net, cohort, lines, scores = NETWORKS[-1], "cohort-test", [], {}
    bounds = runs.bounds(cohort, False, FIVE)
    for atoms in ATOMS:
        options = {} if atoms == BASE else {"atoms": atoms}  # BASE: the network of Table 1
        for seed in range(runs.setting.seeds):
            model = runs.train(net, FIVE, seed, **options)
            lines.append(Size(atoms, seed, min(model.history["validation"]), model.seconds))
            found = score(runs.fit(cohort, False, net.method, FIVE, model=model).values, runs.truth(cohort), bounds)
            scores.setdefault(atoms, []).extend(score_lines("fig4", net.title, seed, "noisy", found))
    rows = []
    for atoms in ATOMS:
        mine = [line for line in lines if line.atoms == atoms]
        cells = [spread([line.validation for line in mine], 5), _percent(_relative(lines, atoms))]
        ratios = [ratio_text([line for line in scores[atoms] if line.parameter == SYMBOLS[key]]) for key in KEYS]
        rows.append([f"{atoms}", *cells, spread([line.training for line in mine], 2), *ratios])
    head = [
        "N",
        "validation error (over the variance of the truth)",
        f"against N = {BASE}, same voxels",
        "training [s of CPU]",
    ]
    text = f"# Figure 4: number of atoms\n\n{command('fig4', runs.setting)} SCDNN, five b-values, SNR 30; ± SD over seeds.\n\n"
    text += table([*head, *(f"{SYMBOLS[key]}: × least possible, test scans" for key in KEYS)], rows) + SIZES
    return Result(lines, text, {"fig4.png": partial(_draw_sizes, lines=lines)})


SIZES = """
A seed is also a choice of validation voxels, whose error differs more than that of the networks does: hence the column of
differences. The paper: the validation error falls from N = 200 to 600 and rises from 600 to 800; the training time grows
markedly.
"""


def _relative(lines: list[Size], atoms: int) -> list[float]:
    """Validation error with so many atoms against that with BASE, seed by seed [%]."""
    base = {line.seed: line.validation for line in lines if line.atoms == BASE}
    return [100 * (line.validation / base[line.seed] - 1) for line in lines if line.atoms == atoms]


def _percent(values: list[float]) -> str:
    error = f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else ""
    return f"{np.mean(values):+.2f}{error} %" if any(values) else "0"


def _draw_sizes(path: Path, lines: list[Size]) -> None:
    figure, panels = new_figure(1, 2, (11, 4.4))
    columns = (
        [_relative(lines, n) for n in ATOMS],
        [[line.training for line in lines if line.atoms == n] for n in ATOMS],
    )
    for axes, values, colour in zip(panels, columns, ("#c0392b", "#1f4e79"), strict=True):
        for seed in zip(*values, strict=True):
            axes.plot(ATOMS, seed, "o-", color=colour, mfc="white", lw=0.7, alpha=0.6, ms=5)
        axes.plot(ATOMS, [np.mean(v) for v in values], "-", color=colour, lw=2.2)
        axes.set(xlabel="number of atoms N", xticks=ATOMS)
        bare(axes)
    panels[0].axhline(0, color="0.8", lw=1, zorder=0)
    panels[0].set(ylabel=f"validation error against N = {BASE} [%]", title="validation error: seeds (thin) and mean")
    panels[1].set(ylabel="training time [s of CPU]", title="training time: seeds (thin) and mean", ylim=(0, None))
    save(figure, path)
