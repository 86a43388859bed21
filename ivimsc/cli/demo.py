"""``ivimsc demo``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("demo")(demo)


def demo(
    out: Path = typer.Option(Path("demo_out"), metavar="DIR", help="Folder for the results."),
    seed: int = typer.Option(0, help="Keys the phantom and its noise."),
    force: bool = typer.Option(False, "--force", help="Overwrite the results of an earlier demo."),
) -> None:
    """Simulate the placenta phantom, fit it, and show maps, pictures and errors beside the truth."""
    from ivimsc.demo import run_demo

    run_demo(out, seed=seed, force=force, say=lambda line: print(line, flush=True))
