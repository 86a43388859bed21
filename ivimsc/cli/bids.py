"""``ivimsc bids``."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from ivimsc.text import one_line

__all__ = ["register"]

Say = Callable[[str], str]  # a line of the library in the options of this command
MOST = 6  # regions of a table
COLUMNS = ("map", "region", "scans", "median", "q25", "q75", "least", "largest", "outliers")
LISTS = ("--participant-label", "--participant_label", "--session-label", "--session_label", "--method")


class BidsCommand(TyperCommand):
    """Takes lists as BIDS Apps do: ``--participant-label 01 02`` is ``--participant-label 01 --participant-label 02``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words of the command line."""
        return super().parse_args(ctx, spread(args))


def spread(words: Sequence[str]) -> list[str]:
    """The words with the name of a list's option before each of its values."""
    result: list[str] = []
    option = ""
    for word in words:
        if word in LISTS:
            option = word
        elif word.startswith("-"):
            option = ""
            result.append(word)
        else:
            result += [option, word] if option else [word]
    return result


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("bids", cls=BidsCommand)(bids)


def bids(
    context: typer.Context,
    root: Path = typer.Argument(..., metavar="BIDS_DIR", help="The data set: sub-*/…/dwi/*_dwi.nii.gz and .bval."),
    out: Path = typer.Argument(..., metavar="OUT", help="Folder of the results, a BIDS derivative."),
    level: str = typer.Argument(..., metavar="participant|group", help="Fit the subjects, or tell of all of them."),
    participant_label: list[str] = typer.Option(
        [], "--participant-label", "--participant_label", metavar="LABEL…", help="These subjects (default: all)."
    ),
    session_label: list[str] = typer.Option(
        [], "--session-label", "--session_label", metavar="LABEL…", help="These sessions (default: all)."
    ),
    method: list[str] = typer.Option(
        [], "--method", metavar="NAME…", help="Methods (default: nlls; of a group: all that were fitted)."
    ),
    settings: list[str] = typer.Option(
        [],
        "--set",
        metavar="[METHOD.]KEY=VALUE",
        help="Option of the methods that have it, or of one; may be repeated.",
    ),
    mask_from: str = typer.Option(
        "auto", metavar="auto|none|DIR", help="Masks: made from b = 0, none, or …_mask.nii.gz in derivatives."
    ),
    labels_from: Path = typer.Option(
        None, metavar="DIR", help="Derivatives with labels, …_dseg.nii.gz: regions of the pages and the table."
    ),
    n_procs: int = typer.Option(1, "--n-procs", "--n_procs", metavar="N", help="Subjects at once, in processes."),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    threads: int = typer.Option(None, help="CPU threads of each process (default: all cores together)."),
    report: bool = typer.Option(False, "--report", help="Write the report with every voxel of each series too."),
    force: bool = typer.Option(False, "--force", help="Replace results of other data, options or versions."),
) -> int:
    """Fit a whole study, a BIDS data set: maps, tables and pages; what is complete is skipped, what fails is told."""
    from ivimsc.bids import StudyJob
    from ivimsc.cli.show import settings_of
    from ivimsc.cli.words import error_in_options
    from ivimsc.errors import InputError

    job = StudyJob(root, out, participant_label, session_label, method or ["nlls"], settings_of(settings), mask_from,
                   labels_from, device, threads, force, report)  # fmt: skip
    say = partial(error_in_options, parameters=context.command.params)
    if level == "participant":
        return _participants(job, n_procs, say)
    if level == "group":
        return _group(job, method, say)
    raise InputError(f"level: found {level!r}, expected participant or group")


def _participants(job: Any, n_procs: int, say: Say) -> int:
    """Fit the subjects, with a line for each fit, and a table in the end."""
    from dataclasses import replace

    from ivimsc.bids import run_participants
    from ivimsc.bids.participant import COMPLETE, FAILED, FITTED, LEFT, lost_subject
    from ivimsc.bids.running import runner_of, threads_each
    from ivimsc.cli.show import progress, show_table

    runner = runner_of(n_procs, lost_subject)
    if n_procs > 1 and job.threads is None:
        job = replace(job, threads=threads_each(n_procs))
    try:
        with progress("bids", "subjects") as advance:
            done = run_participants(job, runner, lambda result, n, total: (_tell(result, say), advance(n, total)))
    except KeyboardInterrupt:
        print("what is finished is kept: the same command goes on with the rest", flush=True)
        raise
    for note in done.notes:
        print(f"note: {one_line(note)}")
    counts = [(subject, [sum(fit.state == state for fit in subject.fits) for state in (FITTED, COMPLETE, LEFT, FAILED)]) for subject in done.subjects]  # fmt: skip
    rows = [[f"sub-{subject.label}", *numbers, _converged(subject)] for subject, numbers in counts]
    rows += [[f"sub-{label}", "", "", "", "", "not run"] for label in done.not_run]
    columns = ["subject", "fitted", "complete before", "left out", "failed", "converged"]
    show_table(
        f"{job.root}: {len(done.subjects)} subject{'s' * (len(done.subjects) != 1)} in {done.seconds:.1f} s",
        columns,
        rows,
    )
    for fit in done.fits:
        if fit.state == FAILED:
            print(f"failed: {_of(fit)}: {one_line(say(fit.words))}")
    if done.stopped:
        print(f"stopped: {one_line(done.stopped)}")
    pages = [subject.page for subject in done.subjects if subject.page]
    if pages:
        print(f"pages: {pages[0]}{f' … {pages[-1].name}' if len(pages) > 1 else ''}")
    print(f"results: {job.out}")
    return done.code


def _tell(result: Any, say: Say) -> None:
    """A line for each fit of a subject."""
    from ivimsc.bids.participant import COMPLETE, FITTED

    for fit in result.fits:
        words = one_line(say(fit.words))
        if fit.state in (FITTED, COMPLETE):
            speed = f" in {fit.seconds:.2f} s" if fit.state == FITTED else ""
            words = f"{fit.voxels:,} voxels{speed}, {100 * fit.converged:.1f} % converged" + (f"; {words}" if words else "")  # fmt: skip
            words += "; over half of the voxels have a bad signal (outcome 5)" if fit.bad else ""
        print(f"{_of(fit)}: {fit.state}: {words}", flush=True)
    for note in result.notes:
        print(f"sub-{result.label}: note: {one_line(note)}", flush=True)


def _of(fit: Any) -> str:
    return one_line(fit.series.rpartition("/")[2] + (f" {fit.method}" if fit.method else ""))


def _converged(subject: Any) -> str:
    fits = [fit for fit in subject.fits if fit.voxels]
    voxels = sum(fit.voxels for fit in fits)
    return f"{100 * sum(fit.converged * fit.voxels for fit in fits) / voxels:.1f} %" if voxels else ""


def _group(job: Any, methods: list[str], say: Say) -> int:
    """Write the tables and the page of the group."""
    from dataclasses import replace

    from ivimsc.bids import run_group
    from ivimsc.bids.group import scale_of, summaries
    from ivimsc.cli.show import show_table

    group, files = run_group(replace(job, methods=methods))
    told = summaries(group)
    regions = list(dict.fromkeys(one.region for one in told))
    for name in dict.fromkeys(one.method for one in told):
        rows = []
        for one in told:
            symbol, unit, known, factor = scale_of(one.key)
            if one.method == name and known and one.key != "s0" and one.region in regions[:MOST]:
                numbers = [factor * value for value in (one.median, one.q25, one.q75, one.least, one.largest)]
                rows.append([f"{symbol} [{unit}]", one.region, str(one.scans), *numbers, str(len(one.outliers))])
        show_table(f"{name}: medians of the scans", COLUMNS, rows, left=2)
    if len(regions) > MOST:
        print(f"{len(regions) - MOST} more regions: the CSV file")
    for file, why in group.unread:
        print(f"not counted: {one_line(file)}: {one_line(say(why))}")
    print(*(f"written: {path}" for path in files), sep="\n")
    return 1 if group.unread else 0
