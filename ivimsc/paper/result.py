"""From lines to files: CSV, a Markdown page, and pictures, written together."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ivimsc.compare.table import write_csv
from ivimsc.errors import InputError
from ivimsc.files import make_folder, written_whole
from ivimsc.paper.scores import Line
from ivimsc.paper.setting import KEYS, SYMBOLS, UNITS, Setting

__all__ = ["Result", "is_done", "number", "ratio_text", "spread", "summary", "table", "write_result"]

FACTORS = {"f": 1e-3, "d": 1e-2, "dstar": 1.0}  # that the Markdown tables print errors in


@dataclass(frozen=True)
class Result:
    """What an experiment found: lines of the CSV, Markdown, and functions that draw pictures by file name."""

    lines: Sequence[object]
    markdown: str
    pictures: dict[str, Callable[[Path], None]] = field(default_factory=dict)


def command(name: str, setting: Setting) -> str:
    """The command that makes an experiment: the first line of its page."""
    return f"Made by `ivimsc paper {name} --scale {setting.scale:g} --seeds {setting.seeds}`."


def is_done(name: str, setting: Setting) -> bool:
    """Whether an experiment's page is there, of this very setting; it is the last file to be written.

    Parameters
    ----------
    name : of the experiment
    setting : what it is to be run with

    Raises
    ------
    InputError
        if it is there of another setting, and is not to be overwritten
    """
    page = setting.out / f"{name}.md"
    if setting.force or not page.exists():
        return False
    if command(name, setting) not in page.read_text(encoding="utf-8"):
        raise InputError(
            f"{page}: found the result of another scale or number of seeds, expected none: force=True overwrites it"
        )
    return True


def write_result(name: str, setting: Setting, result: Result) -> list[Path]:
    """Write the files of an experiment, the page last.

    Parameters
    ----------
    name : of the experiment
    setting : says where
    result : what it found

    Returns
    -------
    the files
    """
    make_folder(setting.out)
    paths = [write_csv(result.lines, setting.out / f"{name}.csv", force=True)]
    for file, draw in result.pictures.items():
        with written_whole(setting.out / file, force=True) as temporary:
            draw(temporary)
        paths.append(setting.out / file)
    with written_whole(setting.out / f"{name}.md", force=True) as temporary:
        temporary.write_text(result.markdown, encoding="utf-8")
    return [*paths, setting.out / f"{name}.md"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table.

    Parameters
    ----------
    head : of the columns; the first is text, the rest numbers
    rows : cells as text
    """
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def number(value: float, digits: int = 3) -> str:
    """A number as text, empty for NaN, without an exponent between 0.001 and a million.

    Parameters
    ----------
    value : the number
    digits : significant ones
    """
    if not np.isfinite(value):
        return ""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, power = f"{value:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(power)}"
    places = max(0, digits - 1 - int(np.floor(np.log10(abs(value)))) if value else 0)
    return f"{value:,.{places}f}"


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Values from several seeds as text: their mean and, from two values on, their SD.

    Parameters
    ----------
    values : a value for each seed; NaN are left out
    digits : significant ones of the mean
    """
    known = [v for v in values if np.isfinite(v)]
    if not known:
        return ""
    mean = number(float(np.mean(known)), digits)
    return mean if len(known) < 2 else f"{mean} ± {number(float(np.std(known, ddof=1)), 2)}"


def ratio_text(lines: Sequence[Line]) -> str:
    """Ratio to the bound: mean over the seeds, and the larger of their SD and the Monte-Carlo error."""
    ratios = [line.ratio for line in lines if np.isfinite(line.ratio)]
    if not ratios:
        return ""
    mean = float(np.mean(ratios))
    error = max(max(line.ratio_error for line in lines), float(np.std(ratios, ddof=1)) if len(ratios) > 1 else 0.0)
    if mean >= 10:
        return number(mean, 3)
    if mean < 5e-4:
        return "< 0.001"
    return f"{mean:.3f} ± {error:.3f}" if error >= 5e-4 else f"{mean:.3f}"


def heads() -> list[str]:
    """Column heads of the errors of f, D and D*."""
    result = []
    for key in KEYS:
        unit = "" if UNITS[key] == "1" else f"({UNITS[key]})²"
        factor = "" if FACTORS[key] == 1 else f"{FACTORS[key]:.0e} ".replace("e-0", "e-")
        result += [f"{SYMBOLS[key]}: MSE [{(factor + unit).strip()}]", "× least possible", "paper"]
    return result


def summary(lines: Sequence[Line], test: str, extra: Sequence[str] = ("R² f, D, D*", "voxels/s")) -> str:
    """The Markdown table of one kind of test signals: a row per row of the experiment, seeds taken together.

    Parameters
    ----------
    lines : of the experiment
    test : "noisy" or "noise-free"
    extra : columns after the errors
    """
    rows = []
    chosen = [line for line in lines if line.test == test]
    for name in dict.fromkeys(line.row for line in chosen):
        mine = [line for line in chosen if line.row == name]
        cells = [name]
        for key in KEYS:
            of_key = [line for line in mine if line.parameter == SYMBOLS[key]]
            printed = of_key[0].printed / FACTORS[key]
            cells += [spread([line.mse / FACTORS[key] for line in of_key]), ratio_text(of_key), number(printed)]
        r2 = [np.mean([line.r2 for line in mine if line.parameter == SYMBOLS[key]]) for key in KEYS]
        more = {"R² f, D, D*": ", ".join("" if np.isnan(v) else f"{v:.2f}" if v > -9.95 else f"{v:.0f}" for v in r2)}
        more["voxels/s"] = number(float(np.median([line.speed for line in mine])), 2)
        more["training [s]"] = number(float(np.mean([line.training for line in mine])), 2)
        missing = sum(line.missing for line in mine) // len(KEYS)
        cells[0] += f" ({missing:,} voxels without a number)" if missing else ""
        rows.append([*cells, *(more[name] for name in extra)])
    return table(["", *heads(), *extra], rows)
