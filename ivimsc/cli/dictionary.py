"""``ivimsc dictionary``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("dictionary")(dictionary)


def dictionary(
    model: Path = typer.Argument(..., metavar="MODEL.safetensors", help="Model of scdnn for one protocol."),
    out: Path = typer.Option(
        ..., metavar="FILE.h5", help="Dictionary file to write, for --set dictionary=FILE of ista."
    ),
    unit: int = typer.Option(None, help="The dictionary of this iteration unit (default: the mean over all units)."),
    figure: Path = typer.Option(None, metavar="FILE.png", help="Also draw the atoms beside the fixed ones."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier files."),
) -> None:
    """Export a learned dictionary for ista, and compare it with the fixed one."""
    from ivimsc.dictionaries import compare_dictionaries, draw_comparison, export_dictionary
    from ivimsc.files import refuse_existing

    if figure is not None:
        refuse_existing(figure, force)
    comparison = compare_dictionaries(export_dictionary(model, out, unit, force))
    print(*comparison.lines, sep="\n")
    print(f"dictionary: {out}")
    if figure is not None:
        draw_comparison(comparison, figure, force)
        print(f"figure:     {figure}")
