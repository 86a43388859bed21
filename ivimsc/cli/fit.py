"""``ivimsc fit``."""

import sys
from pathlib import Path
from typing import Any

import typer

from ivimsc.text import one_line

__all__ = ["register"]

TABLES = (".csv", ".tsv", ".txt")  # endings of tables of decay curves


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("fit")(fit)


def fit(
    context: typer.Context,
    input: Path = typer.Argument(
        ..., metavar="INPUT", help="NIfTI series (.nii, .nii.gz), voxel store (.h5), or table of decay curves (.csv)."
    ),
    method: str = typer.Option("nlls", help="Method: see the README or `ivimsc info` for the list."),
    out: Path = typer.Option(..., metavar="DIR", help="Folder for the estimate store and the maps."),
    bval: Path = typer.Option(None, metavar="FILE", help="b-values of a NIfTI series [s/mm²]."),
    bvec: Path = typer.Option(None, metavar="FILE", help="Gradient directions (checked; averaged over in the fit)."),
    mask: str = typer.Option(None, metavar="FILE|auto", help="3-D mask; voxels > 0 are fitted. auto: made from b = 0."),
    volumes: str = typer.Option(None, metavar="0-99,150|FILE", help="Use these volumes, numbered from 0."),
    device: str = typer.Option("auto", help="auto, cpu or cuda (cuda:1 for the second GPU)."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    bvalues: str = typer.Option(None, metavar="20,50,…", help="Use this subset of the b-values."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted fit."),
    force: bool = typer.Option(False, "--force", help="Overwrite earlier results of this method."),
    no_maps: bool = typer.Option(False, "--no-maps", help="Write the estimate store alone."),
    model: str = typer.Option(None, metavar="FILE", help="Trained model (.safetensors) for scdnn, mlp and ivimnet."),
    report: bool = typer.Option(False, "--report", help="Write a report beside the maps (extra [report])."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Option of the method; may be repeated."),
    chunk: int = typer.Option(None, hidden=True, min=1),
) -> int:
    """Fit the IVIM model to a series or a store: estimate store and NIfTI maps."""
    from ivimsc.cli.show import outcome_lines, progress, settings_of
    from ivimsc.cli.words import in_options
    from ivimsc.errors import InputError
    from ivimsc.fit import FitJob, fit_file
    from ivimsc.physics.bvalue_text import parse_bvalues

    chosen = settings_of(settings) | ({} if model is None else {"model": model})
    if input.suffix.lower() in TABLES:
        if report:
            raise InputError("report: found a table of curves, expected a series or a voxel store")
        given = {
            "bval": bval,
            "bvec": bvec,
            "mask": mask,
            "volumes": volumes,
            "bvalues": bvalues,
            "resume": resume or None,
        }
        return _fit_table(input, given, (out, method, chosen, force, device, threads))
    wanted = None if bvalues is None else parse_bvalues(bvalues)
    job = FitJob(
        input,
        method,
        out,
        bval,
        bvec,
        mask,
        wanted,
        device,
        threads,
        resume,
        force,
        not no_maps,
        chosen,
        chunk,
        volumes,
    )
    page = _report_job(job) if report else None
    try:
        with progress(f"fit {method}") as advance:
            done = fit_file(
                job, advance, lambda note: print(one_line(in_options(note, context.command.params)), flush=True)
            )
    except KeyboardInterrupt:
        kept = "the finished voxels are kept: the same command with --resume goes on"
        print(f"ivimsc: interrupted; {kept}", file=sys.stderr)
        raise typer.Exit(130) from None
    rate = f", {done.voxels / done.seconds:,.0f} voxels/s" if done.seconds > 0 else ""
    threads_used = f"{done.launch.threads} thread{'s' if done.launch.threads > 1 else ''}"
    used = ", ".join(f"{b:g}" for b in done.bvalues)
    print(f"{method} on {done.launch.device}, {threads_used}, b = {used} s/mm²")
    print(f"{done.voxels:,} voxels in {done.seconds:.2f} s{rate}")
    print(*outcome_lines(done.outcomes), sep="\n")
    print(f"estimates: {done.store}")
    if done.maps:
        keys = ",".join(path.name.split("_param-")[1].split("_")[0] for path in done.maps)
        print(f"maps:      {str(done.maps[0]).split('_param-')[0]}_param-{{{keys}}}_dwimap.nii.gz")
    if page is not None:
        from ivimsc.report import write_report

        print(f"report:    {write_report(page)}")
    if done.mostly_bad:
        advice = "over half of the voxels have a bad signal (outcome 5); a mask leaves them out"
        print(f"ivimsc: warning: {advice}", file=sys.stderr)
        raise typer.Exit(3)
    return 0


def _report_job(job: Any) -> Any:
    """The report of a fit, checked before the fit begins."""
    from ivimsc.report import ReportJob, check_job

    out = job.target.with_name(f"{job.target.stem}_report.html")
    page = ReportJob(job.input, [job.target], out, job.bval, job.volumes, force=job.force or job.resume)
    check_job(page, job.mask)
    return page


def _fit_table(input: Path, given: dict, job: tuple) -> int:
    """Fit a table of decay curves: a table of estimates and a picture."""
    import warnings

    from ivimsc.curves import fit_curves
    from ivimsc.errors import InputError

    for name, value in given.items():
        if value is not None:
            raise InputError(
                f"{name}: found {value}, expected none: {input} is a table of curves with its own b-values"
            )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        (target, picture), estimates = fit_curves(input, *job)
    print(*dict.fromkeys([*estimates.notes, *(f"warning: {w.message}" for w in heard)]), sep="\n")
    print(f"{len(estimates):,} curves fitted by {estimates.method}")
    print(f"estimates: {target}")
    print(f"picture:   {picture}")
    return 0
