"""``ivimsc roi``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("roi")(roi)


def roi(
    estimates: list[Path] = typer.Argument(..., metavar="ESTIMATES.h5…", help="Estimate stores of one volume."),
    labels: Path = typer.Option(
        ..., metavar="FILE", help="Regions: a label volume (NIfTI), or the voxel store with tissues."
    ),
    out: Path = typer.Option(..., metavar="FILE.csv", help="Table to write."),
    names: Path = typer.Option(
        None, metavar="FILE", help="Names of the labels, .tsv or .txt (default: a file called like the labels)."
    ),
    signals: Path = typer.Option(
        None, metavar="INPUT", help="What was fitted (series or voxel store): each region's mean curve is fitted too."
    ),
    bval: Path = typer.Option(None, metavar="FILE", help="b-values of a NIfTI series [s/mm²]."),
    mask: str = typer.Option(None, metavar="FILE|auto", help="The mask of the fit, for a NIfTI series."),
    volumes: str = typer.Option(None, metavar="0-99,150|FILE", help="The volumes of the fit, for a NIfTI series."),
    method: str = typer.Option(None, help="Method for the mean curves (default: that of the estimates)."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Option of the method; may be repeated."),
    force: bool = typer.Option(False, "--force", help="Overwrite an earlier table."),
) -> None:
    """Tell what fits found in regions: n, mean, SD, median, quartiles and outcomes, and the fit of the mean curve."""
    from ivimsc.cli.show import settings_of
    from ivimsc.roi import RoiJob, run_roi

    job = RoiJob(estimates, labels, out, names, signals, bval, mask, volumes, method, settings_of(settings), force)
    rows = run_roi(job)
    _show(rows)
    print("f, D and S0 of voxels with outcome 1, 2 or 4, D* of those with outcome 1 (docs/outcomes.md)")
    print(f"table: {out}")


def _show(rows) -> None:
    """A table of each fit, and one of its mean curves, with a row for each region, in the units of figures."""
    from ivimsc.cli.show import show_table
    from ivimsc.outcome import Outcome
    from ivimsc.physics.parameters import PARAMETERS

    for fit in dict.fromkeys(row.estimates for row in rows):
        by = {(row.region, row.key): row for row in rows if row.estimates == fit}
        regions, shown = (
            list(dict.fromkeys(region for region, _ in by)),
            [p for p in PARAMETERS if ("all", p.key) in by],
        )
        words, cells, curves = [f"{p.symbol} [{p.display_unit}]" for p in shown], [], []
        for region in regions:
            members, first = [(by[region, p.key], p) for p in shown], by[region, "s0"]
            share = f"{100 * first.shares[Outcome.CONVERGED]:.0f} %"
            means = [_plus_minus(row.mean, row.sd, p) if row.n else "" for row, p in members]
            cells.append([region, f"{first.voxels:,}", share, *means])
            if first.curve_outcome is not None:
                values = [_plus_minus(row.curve, row.curve_sd, p) for row, p in members]
                curves.append(
                    [region, *values, f"{int(first.curve_outcome)} {first.curve_outcome.sentence.split(':')[0]}"]
                )
        show_table(f"{fit}: mean ± SD over the voxels", ["region", "voxels", "converged", *words], cells)
        if curves:
            show_table(f"{fit}: mean curve, ± standard error", ["region", *words, "outcome"], curves)


def _plus_minus(value: float, sd: float, p) -> str:
    return f"{value * p.display_scale:.3g}" + (f" ± {sd * p.display_scale:.2g}" if sd == sd else "")
