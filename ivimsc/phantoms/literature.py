"""Tissue values from data/literature.csv: mean and spread of S0, f, D and D*, each with its source."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Tissue", "data_folder", "three_pools", "tissues"]

CODES = ("S0", "f", "D", "Dstar")
POOLS = ("D", "Dstar", "Dstar2")


@dataclass(frozen=True)
class Tissue:
    """One tissue: (mean, standard deviation) of S0 [relative], f [1], D and Dstar [mm²/s]."""

    name: str
    S0: tuple[float, float]
    f: tuple[float, float]
    D: tuple[float, float]
    Dstar: tuple[float, float]


def data_folder() -> Path:
    """The folder of committed data: ``ivimsc/data`` where the package is installed, ``data`` in a source checkout."""
    package = Path(__file__).parents[1]
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


@cache
def tissues(organ: str) -> dict[str, Tissue]:
    """The tissues of an organ.

    Parameters
    ----------
    organ : placenta, brain or abdomen

    Returns
    -------
    the tissues by name, in the order of the file
    """
    table = _table(organ)
    return {name: Tissue(name, *(values[code] for code in CODES)) for name, values in table.items()}


@cache
def three_pools() -> dict[str, tuple[float, float, float]]:
    """Mean D, D* and D*2 [mm²/s] of the slow, intermediate and fast pool, by organ."""
    return {name: tuple(values[code][0] for code in POOLS) for name, values in _table("three pools").items()}


def _table(organ: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Tissue -> parameter -> (mean, SD) of the rows of an organ."""
    table: dict[str, dict[str, tuple[float, float]]] = {}
    with (data_folder() / "literature.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["organ"] == organ:
                table.setdefault(row["tissue"], {})[row["parameter"]] = (float(row["mean"]), float(row["sd"]))
    return table
