"""Fitting: arrays in memory (`fit_signals`), and whole files to estimate stores and maps (`FitJob`, `fit_file`).

`inputs` reads what a method's options name, `noise` measures the noise level of a data set, `chunks` fits chunk by chunk, here
or on a cluster, and `join_parts` puts the parts of a fit together.
"""

from ivimsc.fit.arrays import fit_signals
from ivimsc.fit.file import fit_file
from ivimsc.fit.job import FitJob, FitSummary
from ivimsc.fit.join import join_parts

__all__ = ["FitJob", "FitSummary", "fit_file", "fit_signals", "join_parts"]
