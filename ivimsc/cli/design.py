"""``ivimsc design``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("design")(design)


def design(
    tissue: str = typer.Option(
        ..., metavar="NAME[,NAME…]", help="Tissues of data/literature.csv: liver,kidney cortex."
    ),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for design.bval, .csv, .json and .png."),
    snr: float = typer.Option(30.0, help="S0 over the noise SD of one image."),
    volumes: int = typer.Option(16, help="Number of images."),
    bmax: float = typer.Option(800.0, help="Largest b-value [s/mm²]."),
    criterion: str = typer.Option(
        "posterior", help="posterior (smallest possible error under the tissue's spread) or cramer-rao."
    ),
    weights: str = typer.Option("1,1,1", metavar="F,D,D*", help="How much the errors of f, D and D* count."),
    fixed: str = typer.Option(None, metavar="0,500,…", help="b-values that the protocol must hold [s/mm²]."),
    step: float = typer.Option(10.0, help="Grid of b-values that the scanner can be set to [s/mm²]."),
    among: str = typer.Option(
        None, metavar="0,10,…", help="The only b-values that may be chosen, instead of the grid [s/mm²]."
    ),
    distinct: int = typer.Option(None, help="Fewest distinct b-values (default: one more than there are unknowns, 5)."),
    s0_known: bool = typer.Option(False, "--s0-known", help="S0 is known, as in synthetic data."),
    spread: float = typer.Option(1.0, help="Factor on the tissue's SDs: above 1 for patients who differ more."),
    te: float = typer.Option(None, help="Echo time of a protocol up to --bmax [ms]; --snr holds at it."),
    gradient: float = typer.Option(
        None, help="Strength of the diffusion gradients [mT/m]: smaller b-values then shorten the echo time."
    ),
    t2: float = typer.Option(None, help="T2 of the tissue [ms], for --te and --gradient."),
    seed: int = typer.Option(0, help="Seed of the Monte Carlo."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results."),
) -> None:
    """Design a protocol: the b-values, with repeats, of the smallest expected error in a tissue, beside usual protocols."""
    from ivimsc.cli.show import progress, tuple_of
    from ivimsc.files import refuse_existing
    from ivimsc.physics.bvalue_text import parse_bvalues
    from ivimsc.planning import design as run
    from ivimsc.planning import write_design

    refuse_existing(out / "design.bval", force)
    settings = {"criterion": criterion, "weights": tuple_of(weights, float, 3, "--weights"), "step": step, "distinct": distinct,
                "s0_known": s0_known, "spread": spread, "te": te, "gradient": gradient, "t2": t2, "seed": seed}  # fmt: skip
    settings["fixed"] = () if fixed is None else tuple(parse_bvalues(fixed, "fixed"))
    settings["among"] = None if among is None else tuple(parse_bvalues(among, "among"))
    with progress("design", "%") as tell:
        made = run(tissue, snr, volumes, bmax, tell, threads, **settings)
    _show(made)
    print(*(f"written: {path}" for path in write_design(made, out, force)), sep="\n")


def _show(made) -> None:
    from ivimsc.cli.show import show_table

    images = ", ".join(
        f"{b:g}" + (f" (×{n})" if n > 1 else "") for b, n in zip(made.bvalues, made.repeats, strict=True)
    )
    print(f"protocol: b = {images} s/mm²")
    print(*made.notes, sep="\n")
    left, best = made.left, made.left[made.protocols[0].name]
    shares = [[p.name, len(p.images), left[p.name], left[p.name] / best] for p in made.protocols]
    title = "mean share of the tissue's own variance that is left (f, D and D* by their weights), at equal scan time"
    show_table(title, ("protocol", "images", "share left", "× design"), shares)
    columns = ("protocol", "images", "RMSE", "error", "× design", "Cramér-Rao")
    for key in dict.fromkeys((row.tissue, row.parameter, row.unit, row.prior) for row in made.rows):
        tissue, parameter, unit, prior = key
        members = [row for row in made.rows if (row.tissue, row.parameter) == (tissue, parameter)]
        title = f"{parameter} [{unit}] in {tissue}: smallest possible error at equal scan time (nothing measured: {prior:.4g})"
        show_table(
            title, columns, [[r.protocol, r.images, r.rmse, r.rmse_error, r.ratio, r.cramer_rao] for r in members]
        )
