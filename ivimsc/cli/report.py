"""``ivimsc report``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("report")(report)


def report(
    input: Path = typer.Argument(..., metavar="INPUT", help="The voxel store (.h5) or NIfTI series that was fitted."),
    estimates: list[Path] = typer.Argument(..., metavar="ESTIMATES.h5…", help="Estimate stores of its fits."),
    out: Path = typer.Option(..., metavar="FILE.html", help="The report: one file that works offline."),
    bval: Path = typer.Option(None, metavar="FILE", help="b-values of a NIfTI series [s/mm²]."),
    volumes: str = typer.Option(None, metavar="0-99,150|FILE", help="The volumes that were fitted, if not all."),
    labels: Path = typer.Option(None, metavar="FILE", help="Regions: NIfTI labels, or a voxel store with tissues."),
    force: bool = typer.Option(False, "--force", help="Overwrite an earlier report."),
) -> int:
    """Show fits in one HTML file: maps, every voxel's curve, outcomes, histograms, residuals, methods text."""
    from ivimsc.report import ReportJob, write_report

    path = write_report(ReportJob(input, estimates, out, bval, volumes, labels, force))
    print(f"report: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0
