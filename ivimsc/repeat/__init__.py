"""Repeatability of fits: ``ivimsc repeat``. `statistics` has the formulas, `matching` brings repeats together, `stage` tells."""

from ivimsc.repeat.matching import Repeat, by_names, read_table
from ivimsc.repeat.stage import RepeatJob, RepeatResult, RepeatRow, run_repeat
from ivimsc.repeat.statistics import Agreement, Interval, Repeatability, agreement, icc, repeatability

__all__ = [
    "Agreement",
    "Interval",
    "Repeat",
    "RepeatJob",
    "RepeatResult",
    "RepeatRow",
    "Repeatability",
    "agreement",
    "by_names",
    "icc",
    "read_table",
    "repeatability",
    "run_repeat",
]
