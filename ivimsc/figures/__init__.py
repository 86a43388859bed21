"""Pictures as the demo, the comparison, the report and the commands show them.

Conventions: S0 in grey; f, D, D* in perceptually uniform colours with fixed ranges (`physics.parameters`), so that two
pictures can be compared; outside the mask black; not fitted magenta; D* slate where it is not identifiable; every colour
bar with symbol and unit; outcomes in one set of colours everywhere. Slices are cropped to their voxels and lie as a
radiologist expects them, with the patient's sides at the edges.
"""

from ivimsc.figures.canvas import COLOURS, CURVES, MEANINGLESS, OUTCOME_COLOURS, SHORT, bare, new_figure, save
from ivimsc.figures.page import sheet
from ivimsc.figures.slices import (
    Slice,
    into_slice,
    map_pixels,
    mark_sides,
    outcome_pixels,
    range_of,
    show_difference,
    show_map,
    show_outcome,
)

__all__ = [
    "COLOURS",
    "CURVES",
    "MEANINGLESS",
    "OUTCOME_COLOURS",
    "SHORT",
    "Slice",
    "bare",
    "into_slice",
    "map_pixels",
    "mark_sides",
    "outcome_pixels",
    "new_figure",
    "range_of",
    "save",
    "sheet",
    "show_difference",
    "show_map",
    "show_outcome",
]
