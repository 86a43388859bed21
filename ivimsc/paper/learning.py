"""The learning curve: all networks on all, a tenth and a hundredth of the training voxels."""

from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter

from ivimsc.figures import bare, new_figure, save
from ivimsc.paper.charts import COLOURS
from ivimsc.paper.result import Result, command, number, ratio_text, table
from ivimsc.paper.runs import Runs
from ivimsc.paper.scores import Line, paired, score
from ivimsc.paper.setting import FIVE, KEYS, NETWORKS, SYMBOLS
from ivimsc.paper.tables import score_lines

__all__ = ["learning"]

LEARNERS = tuple(net for net in NETWORKS if net.title != "SCDNN, as in the paper")
FRACTIONS = (1.0, 0.1, 0.01)
FLOOR = 0.1  # %: smallest excess over the bound that the picture shows
GOALS = {1.0: 1.01, 0.1: 1.03, 0.01: 1.10}  # ratio to the smallest possible error
COHORT = "cohort-test"
PAIR = ("SCDNN", "MLP")


def learning(runs: Runs) -> Result:
    """All networks on all, a tenth and a hundredth of the training voxels."""
    lines, squares = [], {}
    bounds, truth, total = runs.bounds(COHORT, False, FIVE), runs.truth(COHORT), len(runs.truth("cohort-train"))
    for fraction in FRACTIONS:
        for net in LEARNERS:
            for seed in range(runs.setting.seeds):
                model = runs.train(net, FIVE, seed, fraction)
                fit = runs.fit(COHORT, False, net.method, FIVE, model=model)
                found = score(fit.values, truth, bounds)
                lines += score_lines(
                    "learning", _row(net.title, fraction), seed, "noisy", found, None, fit.speed, model.seconds
                )
                if net.title in PAIR:
                    squares[net.title, fraction, seed] = ((fit.values - truth) ** 2).astype(np.float32)
    text = f"# Learning from less\n\n{command('learning', runs.setting)} Ratio of the mean squared error to the smallest possible one, "
    text += f"five b-values, SNR 30, noisy test signals, by the share of the {total:,} training voxels (a tenth of the share validates); ± the larger of Monte-Carlo error and SD over seeds.\n\n"
    text += _ratios(lines)
    text += "\nSCDNN against MLP: ratio of their mean squared errors on all test voxels, trained on the same voxels; mean over the seeds ± its standard error, below 1 where SCDNN is better.\n\n"
    text += _pairs(squares, runs.setting.seeds)
    return Result(lines, text, {"learning.png": partial(_draw, lines=lines, total=total)})


def _row(title: str, fraction: float) -> str:
    return f"{title}, {100 * fraction:g} %"


def _ratios(lines: list[Line]) -> str:
    """The table of ratios to the smallest possible error."""
    rows = []
    for fraction in FRACTIONS:
        for net in LEARNERS:
            mine = [line for line in lines if line.row == _row(net.title, fraction)]
            cells = [ratio_text([line for line in mine if line.parameter == SYMBOLS[key]]) for key in KEYS]
            goal = f"{GOALS[fraction]:g}" if net.title == "SCDNN" else ""
            seconds = number(float(np.mean([line.training for line in mine])), 2)
            rows.append([f"{100 * fraction:g} %", net.title, *cells, goal, seconds])
    return table(["voxels", "network", *(SYMBOLS[key] for key in KEYS), "goal", "training [s of CPU]"], rows)


def _pairs(squares: dict, seeds: int) -> str:
    """The table of SCDNN against MLP, from squared errors (voxel, 3) by (title, fraction, seed)."""
    rows = []
    for fraction in FRACTIONS:
        both = [paired(squares[PAIR[0], fraction, seed], squares[PAIR[1], fraction, seed]) for seed in range(seeds)]
        ratios, errors = (np.array(values) for values in zip(*both, strict=True))
        error = np.sqrt((errors**2).mean(0) / seeds)
        if seeds > 1:
            error = np.maximum(error, ratios.std(0, ddof=1) / np.sqrt(seeds))
        rows.append(
            [f"{100 * fraction:g} %", *(f"{r:.4f} ± {e:.4f}" for r, e in zip(ratios.mean(0), error, strict=True))]
        )
    return table(["voxels", *(SYMBOLS[key] for key in KEYS)], rows)


def _draw(path: Path, lines: list[Line], total: int) -> None:
    """Excess over the smallest possible error, over the number of voxels; a panel for each parameter."""

    def excess(ratio: float) -> float:
        return max(100 * (ratio - 1), FLOOR)

    figure, panels = new_figure(1, 3, (13.5, 4.6), sharey=True)
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
