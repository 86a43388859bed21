"""``ivimsc register``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("register")(register_series)


def register_series(
    input: Path = typer.Argument(..., metavar="INPUT", help="NIfTI series (.nii, .nii.gz)."),
    bval: Path = typer.Option(..., metavar="FILE", help="b-values [s/mm²]."),
    out: Path = typer.Option(..., metavar="FILE.nii.gz", help="Registered series; the other files lie beside it."),
    bvec: Path = typer.Option(None, metavar="FILE", help="Gradient directions, turned along."),
    passes: int = typer.Option(6, help="6 to 10; the one with the least to move is kept."),
    planar: bool = typer.Option(False, "--planar", help="Move every slice on its own, in its plane."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results."),
) -> None:
    """Register a series to itself: repeated rigid and affine registration to the mean (needs the extra [register])."""
    from ivimsc.cli.show import progress
    from ivimsc.device.launch import choose_device
    from ivimsc.register import register_file

    launch = choose_device("cpu", threads)
    with progress("register", "images") as advance:
        done, paths = register_file(
            input, bval, out, bvec, force, passes=passes, planar=planar, threads=launch.threads, progress=advance
        )
    for note in done.notes:
        print(note)
    for number, (moved, total) in enumerate(zip(done.displacement, done.total, strict=True)):
        kept = "   kept" if number == done.best else ""
        print(f"pass {number + 1}: moved {moved.mean():.3f} mm, in all {total.mean():.3f} mm{kept}")
    print(*paths, sep="\n")
