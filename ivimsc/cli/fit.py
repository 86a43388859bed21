"""``ivimsc fit``."""

import sys
from pathlib import Path
from typing import Any

import typer

from ivimsc.text import one_line

__all__ = ["exit_code", "register", "show_fit"]

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
    cluster: str = typer.Option(
        None, metavar="local:N|ADDRESS", help="Fit on N worker processes, or on a Dask scheduler's workers."
    ),
    part: str = typer.Option(None, metavar="i/n", help="Fit the i-th of n parts of the voxels, for `ivimsc join`."),
    chunk: int = typer.Option(None, hidden=True, min=1),
) -> int:
    """Fit the IVIM model to a series or a store: estimate store and NIfTI maps."""
    from ivimsc.cli.show import settings_of
    from ivimsc.fit import FitJob
    from ivimsc.physics.bvalue_text import parse_bvalues

    chosen = settings_of(settings) | ({} if model is None else {"model": model})
    given = {"bval": bval, "bvec": bvec, "mask": mask, "volumes": volumes, "resume": resume, "part": _part(part)}
    given |= {"cluster": cluster}
    where = {"device": device, "threads": threads, "force": force}
    if input.suffix.lower() in TABLES:
        return _fit_table(input, given | {"bvalues": bvalues, "report": report}, (out, method, chosen), where)
    wanted = None if bvalues is None else parse_bvalues(bvalues)
    job = FitJob(input, method, out, **given, **where, bvalues=wanted, maps=not no_maps, settings=chosen, chunk=chunk)
    page = _report_job(job) if report else None
    done = _fit(job, context.command.params)
    show_fit(done, method)
    if page is not None:
        from ivimsc.report import write_report

        print(f"report:    {write_report(page)}")
    return exit_code(done)


def _part(text: str | None) -> tuple[int, int] | None:
    """``2/16`` as numbers."""
    if text is None:
        return None
    from ivimsc.errors import InputError

    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal()):
        raise InputError(f"part: found {text!r}, expected i/n, such as 2/16")
    return int(number), int(of)


def _fit(job: Any, parameters: Any) -> Any:
    """Run a fit, with its progress and its notes; Ctrl-C keeps what is finished."""
    from ivimsc.cli.show import progress
    from ivimsc.cli.words import in_options
    from ivimsc.fit import fit_file

    try:
        with progress(f"fit {job.method}") as advance:
            return fit_file(job, advance, lambda note: print(one_line(in_options(note, parameters)), flush=True))
    except KeyboardInterrupt:
        kept = "the finished voxels are kept: the same command with --resume goes on"
        print(f"ivimsc: interrupted; {kept}", file=sys.stderr)
        raise typer.Exit(130) from None


def show_fit(done: Any, what: str) -> None:
    """What a fit did: what ran where, how fast, how the voxels ended, and where the results are."""
    from ivimsc.cli.show import outcome_lines

    rate = f", {done.voxels / done.seconds:,.0f} voxels/s" if done.seconds > 0 else ""
    compiling = f"; {done.compiling:.1f} s more to compile kernels, once" if done.compiling > 0.05 else ""
    threads_used = f"{done.launch.threads} thread{'s' if done.launch.threads > 1 else ''}"
    used = ", ".join(f"{b:g}" for b in done.bvalues)
    print(f"{what} on {done.launch.device}, {threads_used}, b = {used} s/mm²")
    print(f"{done.voxels:,} voxels in {done.seconds:.2f} s{rate}{compiling}")
    print(*outcome_lines(done.outcomes), sep="\n")
    print(f"estimates: {done.store}")
    if done.maps:
        keys = ",".join(path.name.split("_param-")[1].split("_")[0] for path in done.maps)
        print(f"maps:      {str(done.maps[0]).split('_param-')[0]}_param-{{{keys}}}_dwimap.nii.gz")


def exit_code(done: Any) -> int:
    """0, or 3 with a warning where over half of the voxels have a bad signal."""
    if not done.mostly_bad:
        return 0
    advice = "over half of the voxels have a bad signal (outcome 5); a mask leaves them out"
    print(f"ivimsc: warning: {advice}", file=sys.stderr)
    return 3


def _report_job(job: Any) -> Any:
    """The report of a fit, checked before the fit begins."""
    from ivimsc.errors import InputError
    from ivimsc.report import ReportJob, check_job

    if job.part is not None:
        raise InputError(
            "report: found it with a part of the voxels, expected it of the whole: `ivimsc report` writes it"
        )
    out = job.target.with_name(f"{job.target.stem}_report.html")
    page = ReportJob(job.input, [job.target], out, job.bval, job.volumes, force=job.force or job.resume)
    check_job(page, job.mask)
    return page


def _fit_table(input: Path, given: dict, job: tuple, where: dict) -> int:
    """Fit a table of decay curves: a table of estimates and a picture."""
    import warnings

    from ivimsc.curves import fit_curves
    from ivimsc.errors import InputError

    if given.pop("report"):
        raise InputError("report: found a table of curves, expected a series or a voxel store")
    for name, value in given.items():
        if value not in (None, False):
            raise InputError(
                f"{name}: found {value}, expected none: {input} is a table of curves with its own b-values"
            )
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        (target, picture), estimates = fit_curves(input, *job, **where)
    print(*dict.fromkeys([*estimates.notes, *(f"warning: {w.message}" for w in heard)]), sep="\n")
    print(f"{len(estimates):,} curves fitted by {estimates.method}")
    print(f"estimates: {target}")
    print(f"picture:   {picture}")
    return 0
