"""Figures 2 and 4 and the learning curve: losses over epochs, dictionaries of several sizes, less training data."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter

from ivimsc.paper.charts import COLOURS, bare, save
from ivimsc.paper.result import Result, command, number, ratio_text, spread, table
from ivimsc.paper.runs import Runs
from ivimsc.paper.scores import Line, score
from ivimsc.paper.setting import FIVE, KEYS, NETWORKS, SYMBOLS
from ivimsc.paper.tables import score_lines

__all__ = ["fig2", "fig4", "learning"]

LEARNERS = tuple(net for net in NETWORKS if net.title != "SCDNN, as in the paper")
ATOMS = (200, 400, 600, 800)
FRACTIONS = (1.0, 0.1, 0.01)
FLOOR = 0.1  # %: smallest excess over the bound that the picture shows
GOALS = {1.0: 1.01, 0.1: 1.03, 0.01: 1.10}  # ratio to the smallest possible error


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
        for seed in net.seeds(runs.setting):
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
    return Result(lines, text, {"fig2.png": partial(_draw_losses, lines=lines)})


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


def _draw_losses(path: Path, lines: list[Loss]) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.8), width_ratios=(2, 1), layout="constrained")
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
    for axes in panels:
        axes.yaxis.set_major_formatter("{x:.2g}")
        axes.yaxis.set_minor_formatter("{x:.2g}")
    figure.suptitle("Losses per epoch (one line per seed)")
    save(figure, path)


def fig4(runs: Runs) -> Result:
    """SCDNN of 200 to 800 atoms: validation error and training time."""
    net = NETWORKS[-1]
    lines = []
    for atoms in ATOMS:
        options = {} if atoms == 600 else {"atoms": atoms}  # 600: the network of Table 1
        for seed in range(runs.setting.seeds):
            model = runs.train(net, FIVE, seed, **options)
            lines.append(Size(atoms, seed, min(model.history["validation"]), model.seconds))
    rows = []
    for atoms in ATOMS:
        mine = [line for line in lines if line.atoms == atoms]
        rows.append(
            [f"{atoms}", spread([line.validation for line in mine], 5), spread([line.training for line in mine], 2)]
        )
    text = f"# Figure 4: number of atoms\n\n{command('fig4', runs.setting)} SCDNN, five b-values, SNR 30; ± SD over seeds.\n\n"
    text += table(["N", "validation error (over the variance of the truth)", "training [s of CPU]"], rows)
    text += "\nThe paper: the validation error falls from N = 200 to 600 and rises from 600 to 800; the training time grows markedly.\n"
    return Result(lines, text, {"fig4.png": partial(_draw_sizes, lines=lines)})


def _draw_sizes(path: Path, lines: list[Size]) -> None:
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axes, kind, colour in zip(panels, ("validation", "training"), ("#c0392b", "#1f4e79"), strict=True):
        axes.plot(
            [line.atoms for line in lines], [getattr(line, kind) for line in lines], "o", color=colour, mfc="none"
        )
        means = [np.mean([getattr(line, kind) for line in lines if line.atoms == n]) for n in ATOMS]
        axes.plot(ATOMS, means, "-", color=colour)
        axes.set(xlabel="number of atoms N", xticks=ATOMS)
        bare(axes)
    panels[0].set(ylabel="validation error / variance of the truth", title="validation error: mean and seeds")
    panels[0].ticklabel_format(useOffset=False)
    panels[1].set(ylabel="training time [s of CPU]", title="training time", ylim=(0, None))
    save(figure, path)


def learning(runs: Runs) -> Result:
    """All networks on all, a tenth and a hundredth of the training voxels."""
    cohort, lines = "cohort-test", []
    bounds = runs.bounds(cohort, False, FIVE)
    for fraction in FRACTIONS:
        for net in LEARNERS:
            for seed in range(runs.setting.seeds):
                model = runs.train(net, FIVE, seed, fraction)
                fit = runs.fit(cohort, False, net.method, FIVE, model=model)
                found = score(fit.values, runs.truth(cohort), bounds)
                row = f"{net.title}, {100 * fraction:g} %"
                lines += score_lines("learning", row, seed, "noisy", found, None, fit.speed, model.seconds)
    rows = []
    for fraction in FRACTIONS:
        for net in LEARNERS:
            mine = [line for line in lines if line.row == f"{net.title}, {100 * fraction:g} %"]
            cells = [ratio_text([line for line in mine if line.parameter == SYMBOLS[key]]) for key in KEYS]
            goal = f"{GOALS[fraction]:g}" if net.title == "SCDNN" else ""
            seconds = number(float(np.mean([line.training for line in mine])), 2)
            rows.append([f"{100 * fraction:g} %", net.title, *cells, goal, seconds])
    text = f"# Learning from less\n\n{command('learning', runs.setting)} Ratio of the mean squared error to the smallest possible one, "
    text += f"five b-values, SNR 30, noisy test signals, by the share of the {len(runs.truth('cohort-train')):,} training voxels; ± the larger of Monte-Carlo error and SD over seeds.\n\n"
    text += table(["voxels", "network", *(SYMBOLS[key] for key in KEYS), "goal", "training [s]"], rows)
    return Result(
        lines, text, {"learning.png": partial(_draw_learning, lines=lines, total=len(runs.truth("cohort-train")))}
    )


def _draw_learning(path: Path, lines: list[Line], total: int) -> None:
    """Excess over the smallest possible error, over the number of voxels; a panel for each parameter."""

    def excess(ratio: float) -> float:
        return max(100 * (ratio - 1), FLOOR)

    figure, panels = plt.subplots(1, 3, figsize=(13.5, 4.6), sharey=True, layout="constrained")
    for axes, key in zip(panels, KEYS, strict=True):
        for net in LEARNERS:
            points = [
                [
                    excess(line.ratio)
                    for line in lines
                    if line.row == f"{net.title}, {100 * f:g} %" and line.parameter == SYMBOLS[key]
                ]
                for f in FRACTIONS
            ]
            voxels = [f * total for f in FRACTIONS]
            axes.plot(voxels, [np.mean(p) for p in points], "-", color=COLOURS[net.title], label=net.title)
            for n, values in zip(voxels, points, strict=True):
                axes.plot([n] * len(values), values, "o", color=COLOURS[net.title], ms=4)
        axes.plot(
            [f * total for f in GOALS],
            [excess(goal) for goal in GOALS.values()],
            "_",
            color="black",
            ms=22,
            mew=2,
            label="goal of SCDNN",
        )
        axes.set(xscale="log", yscale="log", xlabel="training voxels", title=SYMBOLS[key])
        axes.yaxis.set_major_formatter("{x:g} %")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="y", color="0.92")
        bare(axes)
    panels[0].set_ylabel("squared error above the smallest possible")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"Learning from less: one dot per seed (below {FLOOR:g} %: at {FLOOR:g} %, within the Monte-Carlo error)"
    )
    save(figure, path)
