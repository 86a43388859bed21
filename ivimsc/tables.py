"""Tables as CSV files: written whole or not at all, with no cell that a spreadsheet takes for a formula."""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ivimsc.files import written_whole
from ivimsc.text import cell

__all__ = ["fill_table", "safe_cell", "write_table"]


def safe_cell(value: Any) -> Any:
    """A value as a cell: NaN and None are empty, and a text that begins like a formula gets an apostrophe before it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return cell(value) if isinstance(value, str) else value


def fill_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to a file that `ivimsc.files.written_together` has named.

    Parameters
    ----------
    path : file to write
    columns : their names
    rows : a value for each column
    """
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([safe_cell(name) for name in columns])
        writer.writerows([safe_cell(value) for value in row] for row in rows)


def write_table(path: str | Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], force: bool = False) -> Path:
    """Write a table as a CSV file; the path is returned, and a file of the same name is replaced with `force` alone."""
    with written_whole(path, force) as part:
        fill_table(part, columns, rows)
    return Path(path)
