"""``ivimsc compare``."""

from pathlib import Path

import typer

from ivimsc.text import one_line

__all__ = ["register"]

ERRORS = ("method", "missing", "bias", "sd", "rmse", "mse", "mse_error", "r2", "ratio")
FOUND = ("method", "missing", "mean", "sd", "least", "largest")
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
    cluster: str = typer.Option(
        None,
        metavar="local:N|ADDRESS",
        help="Compute the bound on N worker processes, or on a Dask scheduler's workers.",
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results."),
) -> int:
    """Compare fits of one store: with the truth and the bounds, or with one another, and in the evidence for their models."""
    from contextlib import ExitStack

    from ivimsc.cluster import opened_cluster
    from ivimsc.compare import compare as run
    from ivimsc.compare import write_comparison
    from ivimsc.device.launch import choose_device
    from ivimsc.store import EstimateStore, VoxelStore

    with ExitStack() as stack:
        launch = choose_device("cpu", None if cluster else threads)
        store = stack.enter_context(VoxelStore(voxels))
        opened = [stack.enter_context(EstimateStore(path)) for path in fits]
        folder = fits[0].parent if out is None else out
        launch.cluster = stack.enter_context(opened_cluster(None if no_bound else cluster, threads, print))
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
    rows = comparison.rows or comparison.agreements or comparison.found
    columns = ERRORS if comparison.rows else AGREEMENT if comparison.agreements else FOUND
    names = list(dict.fromkeys(row.tissue for row in rows))
    _table([row for row in rows if tissues or row.tissue == names[0]], columns)
    told = [] if comparison.evidence is None else comparison.evidence.rows
    for tissue in dict.fromkeys(row.tissue for row in told if tissues or row.tissue == told[0].tissue):
        _evidence([row for row in told if row.tissue == tissue])
    if len(names) > 1 and not tissues:
        print(f"by tissue: --tissues, or the CSV file ({', '.join(map(one_line, names[1:]))})")


def _table(rows, columns: tuple[str, ...]) -> None:
    """One table per tissue and parameter."""
    from ivimsc.cli.show import show_table

    words = [column.replace("_", " ") for column in columns]
    left = sum(column in ("method", "first", "second") for column in columns)
    for key in dict.fromkeys((row.tissue, row.parameter, row.unit) for row in rows):
        tissue, parameter, unit = key
        members = [row for row in rows if (row.tissue, row.parameter, row.unit) == key]
        title = f"{parameter} [{unit}], {tissue}, {members[0].voxels:,} voxels"
        show_table(title, words, [[getattr(row, column) for column in columns] for row in members], left)


def _evidence(rows) -> None:
    """The table of one tissue: medians over its voxels, and the share of them that supports each model."""
    from ivimsc.cli.show import show_table

    title = f"evidence, {rows[0].tissue}, {rows[0].voxels:,} voxels: medians and shares"
    show_table(title, EVIDENCE, [[getattr(row, column) if row.parameters or column != "parameters" else "" for column in EVIDENCE] for row in rows], left=2)  # fmt: skip
