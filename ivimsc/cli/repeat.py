"""``ivimsc repeat``."""

from pathlib import Path
from typing import Any

import typer

from ivimsc.text import one_line

__all__ = ["register"]

FAR = 1000.0


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("repeat")(repeat)


def repeat(
    estimates: list[Path] = typer.Argument(
        None, metavar="ESTIMATES.h5…", help="Fits of repeated scans; names that begin with sub-LABEL tell the subjects."
    ),
    labels: list[Path] = typer.Option(
        [],
        "--labels",
        metavar="FILE",
        help="Regions (NIfTI labels): one file for all, or one for each fit in their order.",
    ),
    names: Path = typer.Option(None, metavar="FILE", help="Names of the labels, .tsv or .txt."),
    table: Path = typer.Option(
        None, metavar="FILE.csv", help="In place of fits: a table with the columns subject, estimates, labels."
    ),
    out: Path = typer.Option(None, metavar="DIR", help="Folder of the results (default: beside the first fit)."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results."),
) -> None:
    """Tell how well repeated scans agree: within-subject CV, repeatability coefficient, ICC(2,1), Bland-Altman pictures."""
    from ivimsc.errors import InputError
    from ivimsc.repeat import RepeatJob, by_names, read_table, run_repeat

    if (table is None) == (not estimates):
        raise InputError(f"table: found {table} and {len(estimates or [])} estimate stores, expected one of both")
    if table is not None and labels:
        raise InputError(f"labels: found {labels[0]}, expected none: {table} names the labels")
    repeats = by_names(estimates, labels) if table is None else read_table(table)
    result = run_repeat(RepeatJob(repeats, out, names, force))
    for note in result.notes:
        print(f"note: {one_line(note)}")
    _show(result.rows)
    print("a voxel counts where it is trustworthy in every repeat: outcome 1, 2 or 4, and for D* outcome 1 (docs/repeatability.md)")  # fmt: skip
    print(*(f"written: {path}" for path in result.files), sep="\n")


def _show(rows: list[Any]) -> None:
    """A table for each level, in display units."""
    from ivimsc.cli.show import show_table
    from ivimsc.physics.parameters import BY_KEY

    titles = {"voxel": "voxels", "region": "medians of regions, a value for each subject and repeat"}
    for level, title in titles.items():
        cells = []
        for row in (row for row in rows if row.level == level):
            p, found = BY_KEY[row.key], row.found
            counted = f"{found.targets:,} of {row.voxels:,}" if level == "voxel" else f"{found.targets:,}"
            rc = _interval(found.rc, 1.0, "× ") if found.log else _interval(found.rc, p.display_scale)
            cells.append([f"{p.symbol} [{p.display_unit}]", row.region, counted, str(found.repeats),
                          f"{p.display_scale * found.mean:.3g}" if found.targets else "", _interval(found.wcv, 100), rc, _interval(found.icc, 1)])  # fmt: skip
        if cells:
            head = ["map", "region", "counted" if level == "voxel" else "subjects", "repeats", "mean", "CV [%]", "repeatability", "ICC(2,1)"]  # fmt: skip
            show_table(f"{title} (95 % confidence interval)", head, cells, left=2)


def _interval(told: Any, factor: float, before: str = "") -> str:
    """A value with its interval; an end that is over 1000 times as far is not told: there is one degree of freedom, or few."""
    if told.value != told.value:
        return ""
    low, high = (f"{factor * part:.3g}" if part == part else "?" for part in (told.low, told.high))
    high = "∞" if told.high > FAR * abs(told.value) else high
    return f"{before}{factor * told.value:.3g} ({low} to {high})"
