"""``ivimsc pack``, ``ivimsc maps`` and ``ivimsc spectrum``: into the stores, and out of them."""

from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("pack")(pack)
    app.command("maps")(maps)
    app.command("spectrum")(spectrum)


def pack(
    context: typer.Context,
    input: Path = typer.Argument(..., metavar="INPUT", help="NIfTI series (.nii, .nii.gz)."),
    bval: Path = typer.Option(..., metavar="FILE", help="b-values [s/mm²]."),
    out: Path = typer.Option(..., metavar="FILE.h5", help="Voxel store to write."),
    mask: str = typer.Option(None, metavar="FILE|auto", help="3-D mask; voxels > 0 are packed. auto: made from b = 0."),
    volumes: str = typer.Option(None, metavar="0-99,150|FILE", help="Use these volumes, numbered from 0."),
    bvec: Path = typer.Option(None, metavar="FILE", help="Gradient directions (checked; averaged over)."),
    force: bool = typer.Option(False, "--force", help="Overwrite FILE.h5."),
) -> None:
    """Pack a NIfTI series into a voxel store: direction average per b-value, mask applied."""
    from ivimsc.cli.words import in_options
    from ivimsc.nifti import read_series
    from ivimsc.store import write_voxels

    voxels = read_series(input, bval, mask=mask, bvec=bvec, volumes=volumes)
    for note in voxels.attrs.get("notes", []):
        print(in_options(note, context.command.params))
    write_voxels(out, voxels, force=force)
    print(f"{len(voxels):,} voxels, b = {', '.join(f'{b:g}' for b in voxels.bvalues)} s/mm²: {out}")


def maps(
    estimates: Path = typer.Argument(..., metavar="ESTIMATES.h5", help="Estimate store."),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for the maps."),
    force: bool = typer.Option(False, "--force", help="Overwrite maps of the same names."),
) -> None:
    """Write the NIfTI maps of an estimate store."""
    from ivimsc.maps import write_maps

    for path in write_maps(estimates, out, force=force):
        print(path)


def spectrum(
    estimates: Path = typer.Argument(..., metavar="ESTIMATES.h5", help="Estimate store of ista."),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for the table and the picture."),
    labels: Path = typer.Option(
        None, metavar="FILE", help="Regions: a label volume (NIfTI) or the voxel store with tissues."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite an earlier table and picture."),
) -> None:
    """Write the mean spectrum per region: amplitude against diffusivity."""
    from ivimsc.spectrum import write_spectra

    for path in write_spectra(estimates, out, labels, force):
        print(path)
