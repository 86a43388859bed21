"""The argument types with which scdnn launches its CUDA kernels."""

from numba import boolean, float32, float64, int64, uint8

from ivimsc.methods.scdnn.on_gpu import around_units, units
from ivimsc.methods.scdnn.units import Weights
from tests.device.kinds import D1, D2, D3, F1, F2, F3, F4, I1, N1, SPAN, named

WEIGHTS = named(Weights, F4, F4, F3, F1, int64, boolean, boolean)
PLACES, SCRATCH = named(units.Places, N1, N1), named(units.Scratch, F2, F2)
BASE = named(around_units.Base, I1, int64, float32)
ENTERED, ENTERED_GENERAL = (named(around_units.Entered, y, scale, D1, N1) for y, scale in ((F2, F1), (D2, D1)))
REACH = named(around_units.Reach, F1, F1, F1, F1, F2, F2)
LEVELS = named(around_units.NoiseLevels, D3, D1, float64, float64, float64, float64, boolean, boolean)
LEAVE = (*SPAN, N1, F2)

KERNELS = {
    "units": (units.units_kernel(10), (int64, F2, PLACES, WEIGHTS, SCRATCH, F2, F2, boolean)),
    "enter": (around_units.enter_kernel, (*SPAN, F2, F1, BASE, ENTERED, PLACES)),
    "enter, general": (around_units.enter_general_kernel, (*SPAN, F2, LEVELS, ENTERED_GENERAL, N1)),
    "clear": (around_units.clear_kernel, (N1,)),
    "begin": (around_units.begin_kernel, (N1, N1, N1)),
    "place": (around_units.place_kernel, (int64, ENTERED_GENERAL, LEVELS, N1, N1, F2)),
    "leave": (around_units.leave_kernel, (*LEAVE, ENTERED, REACH, LEVELS, F2, uint8[::1])),
    "leave, general": (around_units.leave_kernel, (*LEAVE, ENTERED_GENERAL, REACH, LEVELS, F2, uint8[::1])),
}
