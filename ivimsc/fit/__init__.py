"""Fitting: arrays in memory (`fit_signals`), and whole files to estimate stores and maps (`FitJob`, `fit_file`).

`inputs` reads what a method's options name, `noise` measures the noise level of a data set.
"""

from ivimsc.fit.arrays import fit_signals
from ivimsc.fit.file import FitJob, FitSummary, fit_file

__all__ = ["FitJob", "FitSummary", "fit_file", "fit_signals"]
