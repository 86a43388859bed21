"""``ivimsc simulate``."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("simulate")(simulate)


def simulate(
    context: typer.Context,
    name: str = typer.Option(
        None, "--phantom", help="uniform, placenta, brain, abdomen, fractal, cohort-train, cohort-test or cohort-3t."
    ),
    source: Path = typer.Option(
        None, "--from", metavar="ESTIMATES.h5", help="Fitted maps as truth, instead of a phantom."
    ),
    model: str = typer.Option(
        "biexp", help="Signal model: mono, biexp, kurtosis, triexp, or mixture, which draws one for every voxel."
    ),
    out: Path = typer.Option(..., metavar="FILE.h5", help="Voxel store to write."),
    snr: float = typer.Option(30.0, help="S0 over the noise SD."),
    seed: int = typer.Option(0, help="Keys the truth and the noise."),
    voxels: int = typer.Option(None, help="Number of voxels."),
    shape: str = typer.Option(None, metavar="X,Y,Z", help="Matrix."),
    noise: str = typer.Option("rician", help="rician, gaussian or none."),
    bvalues: str = typer.Option(None, metavar="0,10,…", help="b-values [s/mm²] (default: the paper's ten)."),
    nifti: Path = typer.Option(None, metavar="DIR", help="Also write NIfTI, .bval, mask and truth maps here."),
    device: str = typer.Option("auto", help="auto, cpu or cuda (cuda:1 for the second GPU)."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    force: bool = typer.Option(False, "--force", help="Overwrite FILE.h5 and the NIfTI files."),
) -> None:
    """Simulate a phantom, or fitted maps: signals with noise, and their truth."""
    from ivimsc.cli.show import tuple_of
    from ivimsc.cli.words import in_options
    from ivimsc.device.launch import choose_device
    from ivimsc.errors import InputError
    from ivimsc.physics.bvalue_text import parse_bvalues
    from ivimsc.simulate import write_from_estimates, write_nifti, write_phantom
    from ivimsc.store import VoxelStore

    if (name is None) == (source is None):
        raise InputError(
            f"simulate: found {'neither' if name is None else 'both'} --phantom and --from, expected one of them"
        )
    if source is not None and (voxels is not None or shape is not None or nifti is not None):
        raise InputError("simulate: found --voxels, --shape or --nifti with --from, expected them with --phantom alone")
    if source is not None and model != "biexp":
        raise InputError(f"model: found {model} with --from, expected it with --phantom alone")
    launch = choose_device(device, threads, "simulate" if model == "biexp" else f"the model {model}", model == "biexp")
    for note in launch.notes:
        print(in_options(note, context.command.params), flush=True)
    if source is not None:
        chosen = None if bvalues is None else parse_bvalues(bvalues)
        n = write_from_estimates(out, source, chosen, snr, seed, noise, launch=launch, force=force)
        print(f"{n:,} voxels: {out}")
        return
    series = None if nifti is None else nifti / f"{name}_dwi.nii.gz"
    if series is not None and series.exists() and not force:
        raise InputError(f"{series}: found the series of an earlier run, expected none: --force overwrites it")
    wanted = None if bvalues is None else parse_bvalues(bvalues)
    n = write_phantom(
        out, name, wanted, snr, seed, noise, voxels=voxels, shape=tuple_of(shape, int, 3, "--shape"), model=model,
        launch=launch, force=force,
    )  # fmt: skip
    print(f"{n:,} voxels: {out}")
    if nifti is not None:
        with VoxelStore(out) as store:
            for path in write_nifti(store, nifti, force=force):
                print(path)
