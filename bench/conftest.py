"""Benchmarks: one file per question. Each prints a table and writes it to bench/results/ with the command that made it.

Run one with ``python -m pytest bench/bench_quality.py`` (they are not part of the tests). Kernels are compiled before the
clock starts; speeds of one table come from one run and are to be read as ratios, since machines differ and are shared. A
table is written anew with the rows of this run: where ``-k`` leaves out some of its rows, they are lost from the file.
"""

import platform
import shlex
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

import pytest

RESULTS = Path(__file__).parent / "results"
_TABLES: dict[str, list[dict]] = defaultdict(list)
_TITLES: dict[str, str] = {}


@pytest.fixture
def record():
    """record(table, title, **row): add a row to a table of results."""

    def add(table: str, title: str, **row: object) -> None:
        _TITLES[table] = title
        _TABLES[table].append(row)

    return add


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _markdown(rows: list[dict]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(column, "")) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def pytest_sessionfinish(session: pytest.Session) -> None:
    RESULTS.mkdir(exist_ok=True)
    packages = ", ".join(f"{name} {version(name)}" for name in ("numba", "numpy", "scipy"))
    for name, rows in _TABLES.items():
        from ivimsc.device.launch import usable_cores

        where = f"{usable_cores()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}"
        command = "python -m pytest " + shlex.join(word for word in sys.argv[1:] if word not in ("-q", "-s", "-v"))
        text = f"# {_TITLES[name]}\n\nMade by `{command}` on {where}.\n\n{_markdown(rows)}\n"
        (RESULTS / name).parent.mkdir(parents=True, exist_ok=True)  # cuda/… are in a folder
        (RESULTS / f"{name}.md").write_text(text)
        print(f"\n{text}\nwritten to bench/results/{name}.md")
