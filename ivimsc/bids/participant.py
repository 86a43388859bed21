"""One subject of a study: its series fitted by every method, maps, records, and its page. A failure is a result, not an error."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ivimsc.bids.dataset import RAW
from ivimsc.bids.derived import find_derived
from ivimsc.bids.finding import Series
from ivimsc.bids.names import Dataset
from ivimsc.bids.record import difference, expected_record, read_record, write_record
from ivimsc.errors import InputError, IvimscError
from ivimsc.files import make_folder
from ivimsc.fit import FitJob, fit_file
from ivimsc.maps import write_maps
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore

__all__ = ["AUTO", "COMPLETE", "FAILED", "FITTED", "LEFT", "FitResult", "Plan", "SubjectResult", "SubjectTask", "lost_subject", "run_subject"]  # fmt: skip

AUTO, NONE = "auto", "none"  # masks that are no file
FITTED, COMPLETE, FAILED, LEFT = "fitted", "complete", "failed", "left out"
_FULL = "No space left on device"  # as `os.strerror` says it
COPIED = ("EchoTime", "RepetitionTime", "MagneticFieldStrength", "FlipAngle")  # on which S0 and f depend


@dataclass(frozen=True)
class Plan:
    """What is done with every series of a study.

    Attributes
    ----------
    root : of the data set
    out : of the results
    methods : name -> options
    mask_from : ``auto``, ``none`` (all voxels), or the folder of derivatives with masks
    labels_from : folder of derivatives with labels, for the pages
    device, threads : where to fit
    force : replace the results of other data, options or versions
    report : write the report with all voxels of each series too
    """

    root: Path
    out: Path
    methods: Mapping[str, Mapping[str, Any]]
    mask_from: str | Path = AUTO
    labels_from: Path | None = None
    device: str = "auto"
    threads: int | None = None
    force: bool = False
    report: bool = False


@dataclass(frozen=True)
class SubjectTask:
    """A subject, all its series (those that are left out among them), and the plan."""

    label: str
    series: Sequence[Series]
    plan: Plan


class FitResult(NamedTuple):
    """How one series fared with one method.

    series : path within the data set; method : empty where it did not come to one; state : `FITTED`, `COMPLETE`, `FAILED` or `LEFT`;
    words : the reason, or what is to be known; seconds : of the fit; outcomes : code -> voxels; bad : most voxels have no signal
    """

    series: str
    method: str
    state: str
    words: str = ""
    seconds: float = 0.0
    outcomes: Mapping[int, int] = {}
    bad: bool = False

    @property
    def voxels(self) -> int:
        return sum(self.outcomes.values())

    @property
    def converged(self) -> float:
        """Share of the voxels with outcome 1."""
        return self.outcomes.get(int(Outcome.CONVERGED), 0) / max(self.voxels, 1)

    @property
    def disk_full(self) -> bool:
        """It failed for want of room on the disk: nothing that follows can be written either."""
        return self.state == FAILED and _FULL in self.words


@dataclass(frozen=True)
class SubjectResult:
    """How the series of one subject fared; page : its page, where there is one; trace : of an error that nobody foresaw."""

    label: str
    fits: Sequence[FitResult]
    page: Path | None = None
    trace: str = ""
    notes: Sequence[str] = field(default_factory=tuple)


def run_subject(task: SubjectTask) -> SubjectResult:
    """Fit a subject: every series, by every method; whatever fails is told in the result, and the rest goes on."""
    fits, traces = [], []
    for series in task.series:
        if series.reason:
            fits.append(FitResult(series.relative, "", FAILED if series.bad else LEFT, series.reason))
            continue
        for method, settings in task.plan.methods.items():
            try:
                fits.append(_run_fit(series, method, settings, task.plan))
            except (IvimscError, OSError, MemoryError) as error:
                words = "not enough memory" if isinstance(error, MemoryError) else str(error)
                fits.append(FitResult(series.relative, method, FAILED, words))
            except (
                Exception
            ) as error:  # of ours: it is told, kept for a bug report, and costs one fit and not the study
                traces.append(traceback.format_exc())
                fits.append(FitResult(series.relative, method, FAILED, f"unforeseen {type(error).__name__}: {error}"))
    result = SubjectResult(task.label, fits, trace="\n".join(traces))
    return _with_page(task, result)


def lost_subject(task: SubjectTask) -> SubjectResult:
    """The result of a subject whose process died."""
    words = "its process died, for want of memory perhaps: fewer processes at once take less"
    return SubjectResult(task.label, [FitResult(series.relative, "", FAILED, words) for series in task.series if not series.reason])  # fmt: skip


def folder_of(series: Series, plan: Plan) -> Path:
    """Where the results of a series lie."""
    return (plan.out / series.relative).parent


def _run_fit(series: Series, method: str, settings: Mapping[str, Any], plan: Plan) -> FitResult:
    """One fit, unless it is complete: store, maps, record."""
    mask = _mask_of(series, plan)
    job = FitJob(series.path, method, folder_of(series, plan), series.bval, mask=None if mask == NONE else mask,
                 device=plan.device, threads=plan.threads, maps=False, settings=settings)  # fmt: skip
    inputs = {"images": series.path, "b-values": series.bval, "mask": mask}
    expected = expected_record(inputs, method, settings)
    record, anew = read_record(job.target), False
    if record is not None:
        words, anew = difference(record, expected, job.out)
        if not words:
            return _result(series, method, COMPLETE, record["found"])
        if anew and not plan.force:
            raise InputError(f"{job.target}: found {words}: force=True replaces it")
    make_folder(job.out)
    again = [f"made again: {words}"] if record is not None and not anew else []
    damaged = bool(again) and not _whole(job.target)
    done = fit_file(
        replace(job, force=plan.force or damaged, resume=not (anew or damaged or (plan.force and record is None)))
    )
    maps = write_maps(job.target, job.out, force=True, stem=series.stem, of_study=_sidecar(series, mask))
    found = {
        "voxels": done.voxels, "seconds": done.seconds, "notes": [*series.notes, *done.notes], "bad": done.mostly_bad,
        "outcomes": {str(int(o)): n for o, n in done.outcomes.items()}, "bvalues": done.bvalues.tolist(),
        "device": done.launch.device, "series": series.relative, "stem": series.stem, "about": _copied(series),
    }  # fmt: skip
    beside = [path.with_name(path.name.removesuffix(".nii.gz") + ".json") for path in maps]
    record = write_record(job.target, expected, [job.target, *maps, *beside], found)
    return _result(series, method, FITTED, record["found"])._replace(words="; ".join([*series.notes, *again]))


def _whole(store: Path) -> bool:
    """Whether an estimate store is there and undamaged."""
    if not store.exists():
        return True  # nothing there that has to be replaced
    try:
        with EstimateStore(store) as opened:
            opened.verify()
    except InputError:
        return False
    return True


def _result(series: Series, method: str, state: str, found: Mapping[str, Any]) -> FitResult:
    outcomes = {int(code): int(n) for code, n in found["outcomes"].items()}
    return FitResult(series.relative, method, state, "", float(found["seconds"]), outcomes, bool(found["bad"]))


def _mask_of(series: Series, plan: Plan) -> Path | str:
    if plan.mask_from in (AUTO, NONE):
        return str(plan.mask_from)
    return find_derived(Dataset(Path(plan.mask_from)), series, "mask", "mask_from")


def _copied(series: Series) -> dict[str, Any]:
    """What the series' JSON files say of the acquisition that S0 and f depend on."""
    return {key: series.about[key] for key in COPIED if isinstance(series.about.get(key), int | float)}


def _sidecar(series: Series, mask: Path | str) -> dict[str, Any]:
    """What the JSON files of maps hold beside what `ivimsc.maps` writes: where they come from, as BIDS has it."""
    sources = [f"bids:{RAW}:{series.relative}"]
    brain = isinstance(mask, Path) and "desc-brain" in mask.name
    return {"Sources": sources, "SkullStripped": brain, "Mask": mask.name if isinstance(mask, Path) else mask, **_copied(series)}  # fmt: skip


def _with_page(task: SubjectTask, result: SubjectResult) -> SubjectResult:
    """The result with its page, which is made where something was fitted or there is none; its failure is told, too."""
    from ivimsc.bids.subject_page import (  # matplotlib and Jinja are loaded only where a page is made
        page_path,
        write_page,
    )

    path = page_path(task.plan, task.label)
    fitted = any(fit.state == FITTED for fit in result.fits)
    shown = [fit for fit in result.fits if fit.state in (FITTED, COMPLETE)]
    asked = task.plan.labels_from is not None or task.plan.report
    if not shown or not (fitted or asked or not path.exists()):
        return replace(result, page=path if path.exists() else None)
    try:
        notes = write_page(task, result)
        return replace(result, page=path, notes=notes)
    except (IvimscError, OSError, MemoryError) as error:
        failed = FitResult(f"sub-{task.label}", "", FAILED, f"its page: {error}")
    except Exception as error:
        failed = FitResult(f"sub-{task.label}", "", FAILED, f"its page: unforeseen {type(error).__name__}: {error}")
        result = replace(result, trace=result.trace + traceback.format_exc())
    return replace(result, fits=[*result.fits, failed])
