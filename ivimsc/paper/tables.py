"""Tables 1, 2 and 3: errors beside the smallest possible ones."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from ivimsc.paper.charts import draw_errors
from ivimsc.paper.printed import TABLE1, TABLE2, TABLE3
from ivimsc.paper.result import Result, command, summary
from ivimsc.paper.runs import Fitted, Runs
from ivimsc.paper.scores import NONE, Line, Score, constant_score, paired, score
from ivimsc.paper.setting import FIVE, KEYS, NETWORKS, PROTOCOLS, SNR, SYMBOLS, UNITS, Rival, rivals

__all__ = ["BOUND", "GUESS", "TAUGHT", "rows_of", "score_lines", "table1", "table2", "table3"]

BOUND = "smallest possible (posterior mean, prior: the truth of these scans)"
TAUGHT = "a perfect network (posterior mean, prior and noise level of the training scans)"
GUESS = "constant guess (mean of the training scans)"
ADAPTED = "SCDNN, adapted to the second centre without truth"
TESTS = ("noisy", "noise-free")
READING = """
MSE: mean squared error over all voxels, times the factor in the head. × least possible: the ratio to the smallest mean
squared error that any method can have for these signals (the posterior mean under the true prior and noise), both on the
same {tested:,} voxels, with its error: of the Monte Carlo, or over the seeds if that is larger. paper: as printed, its
row factors applied. ± SD over the seeds of the training. Speed and training: time of the CPU (of all cores together), one
run, compile time left out.
"""
NOISE_FREE = """
Without noise the posterior mean still reckons with noise of the training's level, as a network trained at that level does:
it is a reference here, no bound, and least squares, which reckons with none, can be below it.
"""
S0 = """
S0 = 1 is known to the Bayesian fit, the networks and one row of least squares, as in the paper's synthetic data; the other
row of least squares fits S0, as on measured data without b = 0, and sparse coding has its amplitude free. The general model
that comes with the package finds S0 too, was trained for any protocol and a wide spread, and has seen none of these scans.
"""


def table1(runs: Runs) -> Result:
    """The same centre: cohort-test at SNR 30."""
    return _rivals(runs, "table1", "cohort-test", TABLE1, "Table 1: the same centre")


def table2(runs: Runs) -> Result:
    """The other centre: the networks of Table 1, not trained again, on cohort-3t."""
    return _rivals(runs, "table2", "cohort-3t", TABLE2, "Table 2: the second centre, nothing trained again", ADAPTED)


def table3(runs: Runs) -> Result:
    """SCDNN, trained for each of seven sets of b-values."""
    net, cohort, lines, worst = NETWORKS[-1], "cohort-test", [], np.inf
    for bvalues in PROTOCOLS:
        name = ", ".join(f"{b:g}" for b in bvalues)
        printed = TABLE3[tuple(int(b) for b in bvalues)]
        model = runs.train(net, bvalues, 0)
        for test in TESTS:
            bounds = runs.bounds(cohort, test != "noisy", bvalues, 8)
            worst = min(worst, bounds.ess)
            fit = runs.fit(cohort, test != "noisy", net.method, bvalues, model=model)
            found = score(fit.values, runs.truth(cohort), bounds)
            lines += score_lines("table3", f"SCDNN, b = {name}", 0, test, found, printed, fit.speed, model.seconds)
            mse = bounds.products.mean(0)
            lines += _plain("table3", f"smallest possible, b = {name}", test, mse, runs, cohort)
    text = f"# Table 3: SCDNN by b-values [s/mm²]\n\n{command('table3', runs.setting)} {_cohorts(runs, cohort)}\n"
    text += _both(lines, len(bounds.tested), worst, ("R² f, D, D*", "training [s]"))
    return Result(
        lines, text, {"table3.png": partial(draw_errors, lines=lines, title="Table 3: SCDNN by b-values [s/mm²]")}
    )


def _rivals(runs: Runs, name: str, cohort: str, printed: dict, title: str, adapted: str = "") -> Result:
    lines: list[Line] = []
    truth, guess = runs.truth(cohort), runs.truth("cohort-train").mean(0)
    for rival in rivals():
        lines += rows_of(runs, name, cohort, rival, printed)
    for seed in range(runs.setting.seeds) if adapted else ():
        model = runs.adapt(cohort, FIVE, seed)
        for test in TESTS:
            fit = runs.fit(cohort, test != "noisy", "scdnn", FIVE, model=model)
            found = score(fit.values, truth, runs.bounds(cohort, test != "noisy", FIVE))
            lines += score_lines(name, adapted, seed, test, found, None, fit.speed, model.seconds)
    for test in TESTS:
        bounds = runs.bounds(cohort, test != "noisy", FIVE)
        lines += score_lines(name, GUESS, "", test, constant_score(guess, truth, bounds))
        taught, error = paired(bounds.trained, bounds.products)
        mse = bounds.trained.mean(0)
        found = Score(len(bounds.tested), 0, mse, 1 - mse / truth.var(0), taught, error)
        lines += score_lines(name, TAUGHT, "", test, found)
        lines += _plain(name, BOUND, test, bounds.products.mean(0), runs, cohort)
    text = f"# {title}\n\n{command(name, runs.setting)} {_cohorts(runs, cohort)}\n{S0}"
    text += _both(lines, len(bounds.tested), bounds.ess, ("R² f, D, D*", "voxels/s", "training [s]"))
    return Result(lines, text, {f"{name}.png": partial(draw_errors, lines=lines, title=title)})


def rows_of(runs: Runs, name: str, cohort: str, rival: Rival, printed: dict) -> Iterator[Line]:
    """The lines of one rival: of all seeds where it is trained, for both kinds of test signals.

    Parameters
    ----------
    runs : the runs behind them
    name : of the experiment
    cohort : that is tested on
    rival : the method or network
    printed : the paper's errors by its own names
    """
    for seed in range(runs.setting.seeds) if rival.net else ("",):
        model = runs.train(rival.net, FIVE, seed) if rival.net else None
        for test in TESTS:
            fit: Fitted = runs.fit(cohort, test != "noisy", rival.method, FIVE, rival.settings, model)
            found = score(fit.values, runs.truth(cohort), runs.bounds(cohort, test != "noisy", FIVE))
            seconds = model.seconds if model else NONE
            yield from score_lines(name, rival.title, seed, test, found, printed.get(rival.printed), fit.speed, seconds)


def score_lines(experiment: str, row: str, seed: int | str, test: str, found: Score, printed: tuple | None = None,
                speed: float = NONE, training: float = NONE) -> list[Line]:  # fmt: skip
    """A score as lines, one for each of f, D, D*.

    Parameters
    ----------
    experiment, row, seed, test : what the lines belong to
    found : the score
    printed : the paper's errors of f, D and D*, if it has them
    speed : voxels per s of CPU
    training : s of CPU
    """
    return [
        Line(experiment, row, str(seed), test, SYMBOLS[key], UNITS[key], found.voxels, found.missing, float(found.mse[p]),
             float(found.r2[p]), float(found.ratio[p]), float(found.ratio_error[p]),
             float(printed[p]) if printed else NONE, speed, training)
        for p, key in enumerate(KEYS)
    ]  # fmt: skip


def _plain(experiment: str, row: str, test: str, mse: np.ndarray, runs: Runs, cohort: str) -> list[Line]:
    """The bound's own lines: its ratio is 1."""
    r2 = 1 - mse / runs.truth(cohort).var(0)
    return score_lines(experiment, row, "", test, Score(len(runs.truth(cohort)), 0, mse, r2, np.ones(3), np.zeros(3)))


def _cohorts(runs: Runs, cohort: str) -> str:
    """What was trained and tested on, in words."""
    n = [len(runs.truth(name)) for name in ("cohort-train", cohort)]
    return f"Trained on {n[0]:,} voxels (`cohort-train`, SNR {SNR['cohort-train']:g}), tested on {n[1]:,} (`{cohort}`, SNR {SNR[cohort]:g})."


def _both(lines: list[Line], tested: int, ess: float, extra: tuple[str, ...]) -> str:
    """The tables of noisy and noise-free test signals."""
    text = READING.format(tested=tested) + f"\n## Noisy test signals\n\n{summary(lines, 'noisy', extra)}"
    text += f"\n## Noise-free test signals\n{NOISE_FREE}\n{summary(lines, 'noise-free', extra)}"
    if ess < 50:
        text += (
            f"\nThe posterior means rest on few draws (effective sample size {ess:.0f}): read the ratios with care.\n"
        )
    return text
