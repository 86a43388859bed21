"""Fits of one store side by side: errors against truth and bounds, or agreement where there is no truth.

Every row of the table is one tissue, method and parameter. Beside the methods stand a constant guess (the mean of the
truth: worse than that has learned nothing from the data), the Cramér-Rao bound (for unbiased estimates) and the
smallest mean squared error possible (`compare.bound`), which is what a method is judged by.
"""

from ivimsc.compare.output import write_comparison
from ivimsc.compare.stage import Comparison, compare
from ivimsc.compare.table import Agreement, Row, write_csv

__all__ = ["Agreement", "Comparison", "Row", "compare", "write_comparison", "write_csv"]
