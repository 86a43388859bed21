"""The page of one subject: for each series the maps of every method in one slice, how the voxels ended, medians, notes."""

from pathlib import Path
from typing import Any, NamedTuple

from ivimsc.bids.derived import labels_of
from ivimsc.bids.finding import Series
from ivimsc.bids.names import Dataset, name_of
from ivimsc.bids.pages import gradient, picture, write_page_file
from ivimsc.bids.participant import COMPLETE, FITTED, Plan, SubjectResult, SubjectTask, folder_of
from ivimsc.bids.record import read_record
from ivimsc.figures import Slice, map_pixels, outcome_pixels, range_of
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY
from ivimsc.regions import regions_of
from ivimsc.roi import region_rows
from ivimsc.store import EstimateStore

__all__ = ["page_path", "write_page"]


def page_path(plan: Plan, label: str) -> Path:
    """Where the page of a subject lies."""
    return plan.out / f"sub-{label}.html"


def write_page(task: SubjectTask, result: SubjectResult) -> list[str]:
    """Write the page of a subject, and the reports of its series where they are asked for.

    The page tells of all finished fits of the subject, those of earlier runs with other methods or sessions among them.

    Parameters
    ----------
    task : the subject
    result : how its series fared

    Returns
    -------
    notes for the user
    """
    fitted = {fit.series for fit in result.fits if fit.state == FITTED}
    sections, notes = [], []
    for series, stores in _finished(task):
        section, note = _section(series, stores, task.plan, series.relative in fitted)
        sections.append(section)
        notes += [note] if note else []
    left = [fit for fit in result.fits if fit.state not in (FITTED, COMPLETE)]
    root = task.plan.root.resolve().name
    write_page_file(page_path(task.plan, task.label), "subject.html", label=task.label, root=root, sections=sections, left=left)  # fmt: skip
    return notes


def _finished(task: SubjectTask) -> list[tuple[Series, list[Path]]]:
    """The series of a subject that have finished fits, with their estimate stores: first the methods of the plan, in its order."""
    known, order = {series.relative: series for series in task.series}, list(task.plan.methods)
    found: dict[str, dict[str, Path]] = {}
    for path in sorted((task.plan.out / f"sub-{task.label}").rglob("*.h5")):
        record = read_record(path)
        if record is not None and path.exists():
            found.setdefault(record["found"]["series"], {})[record["method"]] = path
    result = []
    for relative, of in sorted(found.items()):
        name = name_of(Path(relative))
        if name is not None:
            series = known.get(relative) or Series(task.plan.root / relative, relative, name.entities)
            methods = [*(method for method in order if method in of), *(method for method in of if method not in order)]
            result.append((series, [of[method] for method in methods]))
    return result


def _section(series: Series, stores: list[Path], plan: Plan, anew: bool) -> tuple[dict[str, Any], str]:
    """What the page says of one series, and a note; `anew`: something was fitted, so that an earlier report is out of date."""
    labels, names, note = labels_of(series, None if plan.labels_from is None else Dataset(plan.labels_from))
    pictures, counts, rows, told = {}, {}, [], {}
    place, shown = None, _Shown({}, {})
    for path in stores:
        with EstimateStore(path) as store:
            place = Slice(store.index, store.geometry) if place is None else place
            counts[store.method] = store.count_outcomes()
            pictures[store.method] = _pictures(store, place, shown)
            rows += _medians(region_rows(store, store.method, regions_of(store, labels, names)))
            bvalues = store.bvalues
        record = read_record(path) or {"found": {"notes": []}}
        for told_note in record["found"]["notes"]:
            told.setdefault(told_note, []).append(path.stem.rpartition("_")[2])
    notes = [note if len(of) == len(stores) else f"{', '.join(of)}: {note}" for note, of in told.items()]
    height, width = place.inside.shape
    section = {
        "series": series, "pictures": pictures, "bars": {key: shown.bars[key] for key in BY_KEY if key in shown.bars}, "place": place, "rows": rows, "notes": notes,
        "sides": [(getattr(place.view, side), side) for side in ("left", "right", "top", "bottom")],
        "ratio": f"{width / (place.aspect * height):.4g}", "bvalues": bvalues, "shares": counts,
        "folder": folder_of(series, plan).relative_to(plan.out).as_posix(), "stores": [path.name for path in stores],
        "report": _report(series, stores, labels, plan, anew),
    }  # fmt: skip
    return section, note


class _Shown(NamedTuple):
    """What the maps of all methods share: the range of each key in its display unit, and the bar under each column."""

    limits: dict[str, tuple[float, float]]
    bars: dict[str, tuple[str, str, str, float, float]]  # key -> symbol, unit, colours, low, high


def _pictures(store: EstimateStore, place: Slice, shown: _Shown) -> dict[str, str]:
    """One slice of every parameter of a fit, and of the outcome, as addresses of pictures; by key."""
    outcome = store["outcome"][place.rows]
    found = {}
    for key, p in BY_KEY.items():
        if key in store.keys:
            values = store[key][place.rows]
            limits = shown.limits.setdefault(key, range_of(p, values * p.display_scale))
            shown.bars[key] = (p.symbol, p.display_unit, gradient(key), *limits)
            unsure = outcome == Outcome.DSTAR_UNIDENTIFIABLE if key.startswith("dstar") else None
            found[key] = picture(map_pixels(place, values, p, limits, unsure))
    return found | {"outcome": picture(outcome_pixels(place, outcome))}


def _medians(rows: list[Any]) -> list[dict[str, Any]]:
    """Medians and quartiles of the parameters, in display units: a dictionary for each fit and region."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        if row.key in BY_KEY:
            empty = {"fit": row.estimates, "region": row.region, "voxels": row.voxels, "of": {}}
            scaled = [value * BY_KEY[row.key].display_scale for value in (row.median, row.q25, row.q75)]
            found.setdefault((row.estimates, row.region), empty)["of"][row.key] = (row.n, *scaled)
    return list(found.values())


def _report(series: Series, stores: list[Path], labels: Path | None, plan: Plan, anew: bool) -> str:
    """The report with all voxels of a series, made where it is asked for: its address from the page; empty where there is none."""
    out = folder_of(series, plan) / f"{series.stem}_report.html"
    if plan.report and series.bval is not None and (anew or not out.exists()):
        from ivimsc.report import ReportJob, write_report  # Bokeh is loaded only where a report is written

        write_report(ReportJob(series.path, stores, out, series.bval, labels=labels, force=True))
    return out.relative_to(plan.out).as_posix() if out.exists() else ""
