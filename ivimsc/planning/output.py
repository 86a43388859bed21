"""The files of a design: .bval, CSV, JSON and a picture, all of them or none."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from ivimsc import __version__
from ivimsc.files import make_folder, written_together
from ivimsc.planning.judge import Row
from ivimsc.planning.picture import draw_design
from ivimsc.planning.plan import Design
from ivimsc.tables import fill_table

__all__ = ["write_design"]

COLUMNS = tuple(field.name for field in fields(Row))


def write_design(made: Design, folder: str | Path, force: bool = False) -> list[Path]:
    """Write a design to files.

    Parameters
    ----------
    made : the design
    folder : where they go; it is made
    force : replace files of the same names

    Returns
    -------
    paths of design.bval (one row, the b-value of every image), design.csv (errors), design.json (all of it) and design.png

    Raises
    ------
    InputError
        for files that are there, without `force`
    """
    folder = Path(folder)
    make_folder(folder)
    paths = [folder / f"design.{end}" for end in ("bval", "csv", "json", "png")]
    with written_together(paths, force) as (bval, table, record, picture):
        bval.write_text(" ".join(f"{b:g}" for b in made.images) + "\n", encoding="ascii")
        fill_table(table, COLUMNS, ([getattr(row, name) for name in COLUMNS] for row in made.rows))
        record.write_text(json.dumps(_record(made), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        draw_design(picture, made)
    return paths


def _record(made: Design) -> dict[str, Any]:
    """All of a design, for other programs; D and D* in the units of the CSV file."""
    request = made.request
    asked = {f.name: getattr(request, f.name) for f in fields(request) if f.init and f.name != "tissue"}
    record = {
        "ivimsc_version": __version__,
        "bvalues": made.bvalues.tolist(),
        "repeats": made.repeats.tolist(),
        "criterion_value": made.value,
        "request": asked | {"tissues": [asdict(tissue) for tissue in request.tissues]},
        "notes": made.notes,
        "errors": [asdict(row) for row in made.rows],
        "protocols": [
            {"name": p.name, "source": p.source, "images": list(p.images), "left": made.left[p.name]}
            for p in made.protocols
        ],
    }
    if made.optimum is not None:
        record["optimum"] = {k: np.asarray(v).tolist() for k, v in made.optimum._asdict().items()}
    return _finite(record)


def _finite(value: Any) -> Any:
    """The same with null for inf and NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
