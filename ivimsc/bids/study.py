"""A whole study: its subjects run one by one or side by side, and what there is to say in the end."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ivimsc.bids.dataset import make_root, require_place
from ivimsc.bids.finding import find_series, find_subjects, open_dataset
from ivimsc.bids.group import Group, gather, write_group
from ivimsc.bids.participant import AUTO, FAILED, NONE, FitResult, Plan, SubjectResult, SubjectTask, run_subject
from ivimsc.bids.running import Runner, one_by_one
from ivimsc.errors import InputError
from ivimsc.files import make_folder, written_whole
from ivimsc.methods import find_method, make_options

__all__ = ["StudyJob", "StudySummary", "run_group", "run_participants"]


@dataclass(frozen=True)
class StudyJob:
    """One run of ``ivimsc bids``.

    Attributes
    ----------
    root : BIDS data set
    out : folder of the derivatives
    participants, sessions : labels; default: all
    methods : names, in the order of the pictures
    settings : KEY or METHOD.KEY -> value: an option of the methods that have it, or of one method
    mask_from : ``auto``, ``none``, or a folder of derivatives with masks
    labels_from : folder of derivatives with labels
    device, threads : where to fit
    force, report : see `Plan`
    """

    root: Path
    out: Path
    participants: Sequence[str] = ()
    sessions: Sequence[str] = ()
    methods: Sequence[str] = ("nlls",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    mask_from: str | Path = AUTO
    labels_from: Path | None = None
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    report: bool = False


@dataclass(frozen=True)
class StudySummary:
    """How a study went. not_run : labels of the subjects that were not come to; stopped : why not."""

    subjects: list[SubjectResult]
    seconds: float
    notes: list[str]
    not_run: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def fits(self) -> list[FitResult]:
        return [fit for subject in self.subjects for fit in subject.fits]

    def count(self, state: str) -> int:
        """Fits of a state."""
        return sum(fit.state == state for fit in self.fits)

    @property
    def code(self) -> int:
        """Exit code: 1 where something failed or was not come to, 3 where a scan has hardly a good voxel, else 0."""
        if self.count(FAILED) or self.not_run:
            return 1
        return 3 if any(fit.bad for fit in self.fits) else 0


def run_participants(
    job: StudyJob, runner: Runner = one_by_one, tell: Callable[[SubjectResult, int, int], None] | None = None
) -> StudySummary:
    """Fit the subjects of a study; each is finished before it is told, and what was finished once is not done again.

    Parameters
    ----------
    job : what to do
    runner : runs subjects: see `ivimsc.bids.running`
    tell : called with each result, and how many there are so far and in all

    Raises
    ------
    InputError
        for bad usage, for a folder that is no data set, and where no series of it is fit for IVIM; nothing is written then
    """
    begin = time.perf_counter()
    plan = _plan(job)
    dataset = open_dataset(job.root)
    require_place(job.root, job.out)
    series = find_series(dataset, job.participants, job.sessions)
    if not any(not one.reason for one in series):
        why = "".join(f"; {one.relative}: {one.reason}" for one in series[:3]) + ("; …" if len(series) > 3 else "")
        raise InputError(f"{job.root}: found {len(series) or 'no'} diffusion series, none that can be fitted{why}, expected at least one …_dwi.nii.gz with four b-values or more")  # fmt: skip
    labels = list(dict.fromkeys(one.subject for one in series))
    tasks = [SubjectTask(label, [one for one in series if one.subject == label], plan) for label in labels]
    notes = make_root(job.root, job.out)
    without = [f"sub-{label}" for label in find_subjects(dataset, job.participants) if label not in labels]
    notes += [f"no diffusion series: {', '.join(without)}"] if without else []
    results: list[SubjectResult] = []
    stopped = ""
    for result in runner(run_subject, tasks):
        results.append(result)
        if result.trace:
            _keep_trace(job.out, result)
        if tell is not None:
            tell(result, len(results), len(tasks))
        if any(fit.disk_full for fit in result.fits):
            stopped = f"{job.out}: the disk is full; the same command goes on once there is room"
            break
    order = {label: place for place, label in enumerate(labels)}
    results.sort(key=lambda result: order[result.label])
    not_run = [label for label in labels if label not in {result.label for result in results}]
    return StudySummary(results, time.perf_counter() - begin, notes, not_run, stopped)


def run_group(job: StudyJob) -> tuple[Group, list[Path]]:
    """Tell what a study found across its subjects: tables, picture, page.

    Parameters
    ----------
    job : root, out, labels_from; methods that are wanted, all where there are none

    Returns
    -------
    the group, and the files

    Raises
    ------
    InputError
        for a folder without any finished fit
    """
    if not job.out.is_dir():
        raise InputError(f"{job.out}: found no such folder, expected the results of ivimsc bids … participant")
    require_place(job.root, job.out)
    _require_folder(job.labels_from, "labels_from")
    group = gather(job.out, job.methods, job.labels_from)
    return group, write_group(job.out, group, job.root)


def _plan(job: StudyJob) -> Plan:
    """What is done with every series; everything that can be checked before the first one is."""
    mask_from = job.mask_from if job.mask_from in (AUTO, NONE) else Path(job.mask_from)
    _require_folder(mask_from, "mask_from")
    _require_folder(job.labels_from, "labels_from")
    if job.report:
        from ivimsc.report import ReportJob, check_job

        check_job(ReportJob(job.root, [], job.out / "report.html", force=True))  # the extra that it needs
    methods = _options(list(dict.fromkeys(job.methods)), job.settings)
    return Plan(job.root, job.out, methods, mask_from, job.labels_from, job.device, job.threads, job.force, job.report)


def _require_folder(folder: str | Path | None, parameter: str) -> None:
    if isinstance(folder, Path) and not folder.is_dir():
        expected = f"'{AUTO}', '{NONE}', or a folder" if parameter == "mask_from" else "a folder"
        raise InputError(f"{parameter}: found {folder}, expected {expected} of derivatives")


def _options(methods: Sequence[str], settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of each method, checked.

    Raises
    ------
    InputError
        for a method that there is not, an option that none of them has, and a value of another kind
    """
    chosen: dict[str, dict[str, Any]] = {name: {} for name in methods}
    for key, value in settings.items():
        method, dot, own = key.partition(".")
        takers = [method] if dot else [name for name in methods if key in {f.name for f in fields(find_method(name).load().Options)}]  # fmt: skip
        if dot and method not in chosen:
            raise InputError(f"option {key}: found the method {method!r}, expected one of {', '.join(methods)}")
        if not takers:
            raise InputError(f"option {key}: found in no method, expected an option of {' or '.join(methods)}: `ivimsc info METHOD` lists them")  # fmt: skip
        for name in takers:
            chosen[name][own if dot else key] = value
    for name in methods:
        make_options(find_method(name).load(), chosen[name])
    return chosen


def _keep_trace(out: Path, result: SubjectResult) -> None:
    """Keep what a bug report needs."""
    path = out / "logs" / f"sub-{result.label}_trace.txt"
    make_folder(path.parent)
    with written_whole(path, force=True) as part:
        part.write_text(result.trace, encoding="utf-8")
