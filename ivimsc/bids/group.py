"""The group: medians of every region across the scans of a study, scans that stand out, and how their voxels ended.

A scan stands out where its median lies far from those of the others: by the modified z score of Iglewicz and Hoaglin ("How to
detect and handle outliers", ASQC 1993), 0.6745 (x - median) / MAD, beyond 3.5. Medians carry it, so that outliers do not hide
themselves; with fewer than `FEWEST` scans nothing is called an outlier.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.bids.derived import labels_of
from ivimsc.bids.finding import Series
from ivimsc.bids.names import Dataset, name_of
from ivimsc.bids.record import read_record
from ivimsc.errors import InputError
from ivimsc.files import written_together
from ivimsc.maps import MAP_KEYS
from ivimsc.outcome import Outcome
from ivimsc.physics.parameters import BY_KEY
from ivimsc.regions import regions_of
from ivimsc.roi import SHARES, RegionRow, region_rows
from ivimsc.store import EstimateStore
from ivimsc.tables import fill_table

__all__ = [
    "FEWEST",
    "LIMIT",
    "Group",
    "GroupRow",
    "Scan",
    "Summary",
    "gather",
    "modified_z",
    "summaries",
    "write_group",
]

LIMIT, FEWEST = (
    3.5,
    10,
)  # of the modified z score; scans below which it calls too many outliers (5 % of normal values at 5 scans)
COLUMNS = ("participant", "session", "series", "method", "region", "map", "unit", "voxels", "n", "median", "q25", "q75",
           "mean", "sd", "z", "outlier")  # fmt: skip
SCAN_COLUMNS = ("participant", "session", "series", "method", "voxels", "bvalues", "echo_time", "tesla", "seconds")


class Scan(NamedTuple):
    """One fit of a study: the names of its series and method, b-values [s/mm²], what its JSON said, outcome -> voxels, estimates."""

    participant: str
    session: str
    series: str
    method: str
    bvalues: tuple[float, ...]
    about: Mapping[str, Any]
    outcomes: Mapping[Outcome, int]
    seconds: float
    path: Path

    @property
    def label(self) -> str:
        """The scan in short: its entities without what all names share."""
        return self.series.rpartition("/")[2].split("_dwi")[0]

    @property
    def voxels(self) -> int:
        return sum(self.outcomes.values())


class GroupRow(NamedTuple):
    """One map of one scan in one region; z : modified z score of its median among the scans, NaN with fewer than `FEWEST`."""

    scan: Scan
    row: RegionRow
    z: float = math.nan

    @property
    def outlier(self) -> bool:
        return abs(self.z) > LIMIT  # NaN is not


class Summary(NamedTuple):
    """The medians of one map in one region over all scans of a method; in the unit of the map."""

    method: str
    region: str
    key: str
    unit: str
    scans: int
    median: float
    q25: float
    q75: float
    least: float
    largest: float
    outliers: list[GroupRow]


@dataclass(frozen=True)
class Group:
    """What a study found. scans : fits; rows : their medians; unread : (file, why) of what could not be read, or not whole."""

    scans: list[Scan]
    rows: list[GroupRow]
    unread: list[tuple[str, str]]


def gather(out: Path, methods: Sequence[str] = (), labels_from: Path | None = None) -> Group:
    """Read what the fits of a study found.

    Parameters
    ----------
    out : folder of the study
    methods : those wanted; default: all
    labels_from : folder of derivatives with labels; default: the region of all voxels alone

    Raises
    ------
    InputError
        for a folder without any finished fit
    """
    scans, rows, unread = [], [], []
    derivatives = None if labels_from is None else Dataset(labels_from)
    for path in sorted(out.glob("sub-*/**/*.h5")):
        try:
            scan, found, note = _read(path, methods, derivatives)
        except InputError as error:
            unread.append((path.relative_to(out).as_posix(), str(error)))
            continue
        if scan is not None:
            scans.append(scan)
            rows += [GroupRow(scan, row) for row in found]
            unread += [(path.relative_to(out).as_posix(), note)] if note else []
    if not scans:
        why = f" ({unread[0][1]})" if unread else ""
        raise InputError(f"{out}: found no finished fit{f' by {chr(44).join(methods)}' if methods else ''}{why}, expected the results of ivimsc bids … participant")  # fmt: skip
    return Group(scans, _with_scores(rows), unread)


def _read(path: Path, methods: Sequence[str], derivatives: Dataset | None) -> tuple[Scan | None, list[RegionRow], str]:
    """One fit, its regions, and why it has no labels though they were asked for; None for a fit of another method."""
    record = read_record(path)
    name = None if record is None else name_of(Path(record["found"]["series"]))
    if record is None or name is None or "sub" not in name.entities:
        raise InputError(f"{path.name}: found no record of a finished fit, expected one: the participant level goes on with it")  # fmt: skip
    if methods and record["method"] not in methods:
        return None, [], ""
    found = record["found"]
    series = Series(Path(found["series"]), found["series"], name.entities)
    labels, names, note = labels_of(series, derivatives)
    with EstimateStore(path) as store:
        rows = region_rows(store, store.method, regions_of(store, labels, names))
        b, about = tuple(float(b) for b in store.bvalues), found.get("about", {})
        told = (name.entities["sub"], name.entities.get("ses", ""), found["series"], store.method, b, about)
        return (
            Scan(*told, store.count_outcomes(), store.seconds, path),
            rows,
            f"counted without regions: {note}" if note else "",
        )


def modified_z(values: Iterable[float]) -> NDArray[np.float64]:
    """The modified z scores of values; NaN for all of fewer than `FEWEST` numbers, and for values that are none.

    Where over half of the values are the same, the MAD is 0 and tells nothing: 1.2533 times the mean absolute deviation takes its
    place, as in the source; 0 where all are the same.
    """
    values = np.array(list(values), np.float64)
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.full(len(values), np.nan)
    away = values - np.median(known)
    spread = np.median(np.abs(known - np.median(known))) / 0.6745
    if not spread > 0:
        spread = 1.253314 * np.mean(np.abs(known - np.median(known)))
    return away / spread if spread > 0 else np.where(np.isfinite(values), 0.0, np.nan)


def _kind(row: GroupRow) -> tuple[str, str, str]:
    return row.scan.method, row.row.region, row.row.key


def _with_scores(rows: list[GroupRow]) -> list[GroupRow]:
    """The rows with the score of each among those of its method, region and map."""
    members = defaultdict(list)
    for number, row in enumerate(rows):
        members[_kind(row)].append(number)
    result = list(rows)
    for numbers in members.values():
        for number, z in zip(numbers, modified_z(rows[n].row.median for n in numbers), strict=True):
            result[number] = rows[number]._replace(z=float(z))
    return result


def summaries(group: Group) -> list[Summary]:
    """The medians over the scans, for each method, region and map."""
    members = defaultdict(list)
    for row in group.rows:
        members[_kind(row)].append(row)
    order = {key: place for place, key in enumerate(MAP_KEYS)}
    result = []
    for (method, region, key), rows in members.items():
        values = np.array([row.row.median for row in rows])
        values = values[np.isfinite(values)]
        told = (*np.percentile(values, (50, 25, 75)), values.min(), values.max()) if len(values) else (np.nan,) * 5
        outliers = [row for row in rows if row.outlier]
        result.append(Summary(method, region, key, rows[0].row.unit, len(values), *map(float, told), outliers))
    return sorted(result, key=lambda one: (one.method, order[one.key]))


def write_group(out: Path, group: Group, root: Path) -> list[Path]:
    """Write the tables, the picture and the page of the group; earlier ones are replaced, for they are of these results.

    Parameters
    ----------
    out : folder of the study
    group : from `gather`
    root : of the data set, for its name

    Returns
    -------
    group_medians.csv, group_outcomes.csv, group_medians.png, group.html
    """
    from ivimsc.bids.group_figure import draw_group  # matplotlib is loaded only where something is drawn
    from ivimsc.bids.pages import embedded, write_page_file

    files = [out / "group_medians.csv", out / "group_outcomes.csv", out / "group_medians.png"]
    with written_together(files, force=True) as (medians, scans, picture):
        fill_table(medians, COLUMNS, map(_cells, group.rows))
        fill_table(scans, [*SCAN_COLUMNS, *(f"share_{o.name.lower()}" for o in SHARES)], map(_scan_cells, group.scans))
        draw_group(group, picture)
    protocols = defaultdict(list)
    for scan in group.scans:
        protocols[scan.bvalues, scan.about.get("EchoTime"), scan.about.get("MagneticFieldStrength")].append(scan)
    told = summaries(group)
    table: dict[tuple[str, str], dict[str, Summary]] = {}
    for one in told:
        table.setdefault((one.method, one.region), {})[one.key] = one
    keys = [key for key in BY_KEY if key != "s0" and any(key in by for by in table.values())]
    page = write_page_file(
        out / "group.html", "group.html", group=group, summaries=table, keys=keys, scale=scale_of, protocols=protocols,
        root=root.resolve().name, picture=embedded(files[2].read_bytes()), outliers=[one for one in told if one.outliers and one.key in BY_KEY], limit=LIMIT, fewest=FEWEST,
    )  # fmt: skip
    return [*files, page]


def scale_of(key: str) -> tuple[str, str, bool, float]:
    """Symbol, unit, whether it is a parameter, and the factor to the unit in which figures show a map."""
    p = BY_KEY.get(key)
    return (key, "", False, 1.0) if p is None else (p.symbol, p.display_unit, True, p.display_scale)


def _cells(one: GroupRow) -> list[Any]:
    scan, row = one.scan, one.row
    numbers = [float(f"{value:.7g}") for value in (row.median, row.q25, row.q75, row.mean, row.sd)]
    return [scan.participant, scan.session, scan.series, scan.method, row.region, row.key, row.unit, row.voxels, row.n, *numbers,
            float(f"{one.z:.4g}"), int(one.outlier)]  # fmt: skip


def _scan_cells(scan: Scan) -> list[Any]:
    b = " ".join(f"{b:g}" for b in scan.bvalues)
    about = [scan.about.get(key) for key in ("EchoTime", "MagneticFieldStrength")]
    shares = [float(f"{scan.outcomes.get(o, 0) / max(scan.voxels, 1):.6g}") for o in SHARES]
    return [scan.participant, scan.session, scan.series, scan.method, scan.voxels, b, *about, round(scan.seconds, 4), *shares]  # fmt: skip
