"""``ivimsc compare``."""

from pathlib import Path

import typer

__all__ = ["register"]

ERRORS = ("method", "missing", "bias", "sd", "rmse", "mse", "mse_error", "r2", "ratio")
EVIDENCE = ("model", "fit", "parameters", "chi2", "aicc", "bic", "refused", "supported")
AGREEMENT = ("first", "second", "missing", "difference", "sd", "lower", "upper", "r")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("compare")(compare)


def compare(
    voxels: Path = typer.Argument(..., metavar="VOXELS.h5", help="The voxel store that was fitted."),
    fits: list[Path] = typer.Argument(..., metavar="ESTIMATES.h5…", help="Estimate stores of its fits."),
    out: Path = typer.Option(
        None, metavar="DIR", help="Folder for the CSV file and the figures (default: beside the first fit)."
    ),
    no_bound: bool = typer.Option(False, "--no-bound", help="Leave out the bounds (they take seconds)."),
    tissues: bool = typer.Option(False, "--tissues", help="Print the tables of every tissue, not of all voxels alone."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    seed: int = typer.Option(0, help="Seed of the bound's choice of voxels."),
    sigma: float = typer.Option(
        None, help="Noise SD of one image, for the evidence (default: as the store says, or from the residuals)."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results."),
) -> int:
    """Compare fits of one store: with the truth and the bounds, or with one another; and which model the data support."""
    from contextlib import ExitStack

    from ivimsc.compare import compare as run
    from ivimsc.compare import write_comparison
    from ivimsc.device.launch import choose_device
    from ivimsc.store import EstimateStore, VoxelStore

    launch = choose_device("cpu", threads)
    with ExitStack() as stack:
        store = stack.enter_context(VoxelStore(voxels))
        opened = [stack.enter_context(EstimateStore(path)) for path in fits]
        folder = fits[0].parent if out is None else out
        comparison = run(store, opened, launch, bound=not no_bound, seed=seed, sigma=sigma)
        written = write_comparison(store, opened, comparison, folder, voxels.stem, force)
    _show(comparison, tissues)
    print(*(f"written: {path}" for path in written), sep="\n")
    return 0


def _show(comparison, tissues: bool) -> None:
    for note in comparison.notes:
        print(note)
    for name, shares in comparison.outcomes.items():
        parts = "; ".join(f"{100 * share:.2f} % {outcome.sentence}" for outcome, share in shares.items())
        print(f"{name}: {comparison.speeds[name]:,.0f} voxels/s; {parts}")
    rows = comparison.rows or comparison.agreements
    names = list(dict.fromkeys(row.tissue for row in rows))
    _table([row for row in rows if tissues or row.tissue == names[0]], ERRORS if comparison.rows else AGREEMENT)
    told = comparison.evidence_rows
    for tissue in dict.fromkeys(row.tissue for row in told if tissues or row.tissue == told[0].tissue):
        _evidence([row for row in told if row.tissue == tissue])
    if len(names) > 1 and not tissues:
        print(f"by tissue: --tissues, or the CSV file ({', '.join(names[1:])})")


def _table(rows, columns: tuple[str, ...]) -> None:
    """One table per tissue and parameter."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 140  # a log file has no width to fit into
    for key in dict.fromkeys((row.tissue, row.parameter, row.unit) for row in rows):
        tissue, parameter, unit = key
        members = [row for row in rows if (row.tissue, row.parameter, row.unit) == key]
        table = Table(
            title=f"{parameter} [{unit}], {tissue}, {members[0].voxels:,} voxels", title_justify="left", box=None
        )
        for column in columns:
            table.add_column(
                column.replace("_", " "), justify="left" if column in ("method", "first", "second") else "right"
            )
        for row in members:
            table.add_row(*(_cell(getattr(row, column)) for column in columns))
        console.print(table)


def _evidence(rows) -> None:
    """One table per tissue: medians over its voxels, and the share of them that supports each model."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        console.width = 140
    title = (
        f"evidence, {rows[0].tissue}, {rows[0].voxels:,} voxels (medians; shares refused by chi-square, and supporting)"
    )
    table = Table(title=title, title_justify="left", box=None)
    for column in EVIDENCE:
        table.add_column(column, justify="left" if column in ("model", "fit") else "right")
    for row in rows:
        cells = [_cell(getattr(row, column)) for column in EVIDENCE]
        table.add_row(*(cells if row.parameters else [row.model, *[""] * (len(cells) - 2), cells[-1]]))
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)
