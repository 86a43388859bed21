"""``ivimsc paper``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("paper")(paper)


def paper(
    context: typer.Context,
    name: str = typer.Argument(..., metavar="NAME", help="table1, table2, table3, fig2, fig3, fig4, learning or all."),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for tables and figures."),
    work: Path = typer.Option(None, metavar="DIR", help="Folder for stores, models and fits (default: work in --out)."),
    scale: float = typer.Option(1.0, help="Share of the paper's number of voxels."),
    seeds: int = typer.Option(3, help="Trainings of every network."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    cluster: str = typer.Option(
        None, metavar="local:N|ADDRESS", help="Fit and bound on N worker processes, or on a Dask scheduler's workers."
    ),
    force: bool = typer.Option(False, "--force", help="Write tables and figures again; finished runs are kept."),
) -> None:
    """Rerun the paper's tables and figures on synthetic cohorts, beside the smallest possible error; resumable."""
    from ivimsc.cli.words import in_options
    from ivimsc.paper import Setting, run_paper

    def say(line: str) -> None:
        print(in_options(line, context.command.params), flush=True)

    setting = Setting(out, work, scale, seeds, threads, force, cluster)
    for path in run_paper(name, setting, say):
        print(f"written: {path}")
