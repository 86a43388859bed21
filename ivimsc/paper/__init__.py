"""The paper's experiments, rerun on the synthetic cohorts beside the smallest possible error of the same voxels.

Each experiment writes a CSV file, a Markdown page and pictures. The runs behind them (simulations, trainings, fits,
bounds) are kept and shared: an experiment that was stopped goes on where it was.
"""

import importlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ivimsc.cluster import opened_cluster
from ivimsc.errors import InputError
from ivimsc.paper.setting import Setting

__all__ = ["EXPERIMENTS", "Setting", "run_paper"]

EXPERIMENTS = {
    "table1": ("tables", "the same centre: errors of all methods"),
    "table2": ("tables", "the second centre, nothing trained again"),
    "table3": ("tables", "SCDNN for seven sets of b-values"),
    "fig2": ("curves", "losses per epoch"),
    "fig3": ("pictures", "one test scan: scatter, maps, residuals"),
    "fig4": ("curves", "200 to 800 atoms: validation error and training time"),
    "learning": ("learning", "all, a tenth and a hundredth of the training voxels"),
}


def run_paper(name: str, setting: Setting, say: Callable[[str], None] = print) -> list[Path]:
    """Run an experiment, or all of them.

    Parameters
    ----------
    name : one of `EXPERIMENTS`, or "all"
    setting : what it is run with
    say : takes the lines that tell what is done

    Returns
    -------
    the files that were written

    Raises
    ------
    InputError
        for an unknown name, and for results of another scale or number of seeds (without ``force``)
    """
    if name not in (*EXPERIMENTS, "all"):
        raise InputError(f"paper: found {name!r}, expected one of {', '.join(EXPERIMENTS)}, all")
    from ivimsc.paper.result import is_done, write_result
    from ivimsc.paper.runs import Runs

    wanted = list(EXPERIMENTS) if name == "all" else [name]
    todo = [one for one in wanted if not is_done(one, setting)]  # refuses before any work
    for one in set(wanted) - set(todo):
        say(f"{one}: there already; force=True makes it again")
    written = []
    with opened_cluster(setting.cluster if todo else None, say=say) as cluster:
        setting = replace(setting, cluster=cluster)
        runs = Runs(setting, say)
        for one in todo:
            say(f"{one}: {EXPERIMENTS[one][1]}")
            experiment = getattr(importlib.import_module(f"ivimsc.paper.{EXPERIMENTS[one][0]}"), one)
            written += write_result(one, setting, experiment(runs))
    return written
