"""``ivimsc join``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("join")(join)


def join(
    parts: list[Path] = typer.Argument(..., metavar="PART.h5…", help="The estimate stores of all parts of one fit."),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for the estimate store and the maps."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results of this method."),
    no_maps: bool = typer.Option(False, "--no-maps", help="Write the estimate store alone."),
) -> int:
    """Put the parts of a fit (`ivimsc fit --part i/n`) together: estimate store and NIfTI maps."""
    from ivimsc.cli.fit import exit_code, show_fit
    from ivimsc.cli.show import progress
    from ivimsc.fit import join_parts

    with progress("join") as advance:
        done = join_parts(parts, out, force, not no_maps, advance)
    show_fit(done, f"{len(parts)} parts")
    return exit_code(done)
