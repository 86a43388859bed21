"""The argument types with which ista launches its CUDA kernels."""

from numba import boolean, float64, int32, uint8, uint64

from ivimsc.estimates import Spectrum
from ivimsc.methods.ista import on_gpu
from ivimsc.methods.ista.decoding import Maps
from ivimsc.methods.ista.problem import Penalty
from ivimsc.methods.ista.pyramid import Pyramid
from ivimsc.physics.dictionary import Grids
from tests.device.kinds import D1, D2, D3, F1, F2, I1, I2, N1, SPAN, named

PYRAMID = named(Pyramid, D2, D2, I1, I1, I1, D1, D2, D1, D3)
GRIDS, PENALTY = named(Grids, D1, D1), named(Penalty, float64, boolean)
ROOM = named(on_gpu.Room, I2, D2, D3, D3, D2, I2, D2, I2, D2, I2, uint8[:, ::1], uint64[::1])
MAPS = named(Maps, F1, F1, F1, F1, F1, uint8[::1])
CODES = named(on_gpu.Codes, F1, N1, N1, int32[:, ::1], F2)

KERNELS = {
    "codes": (on_gpu.codes_kernel, (*SPAN, F2, PYRAMID, GRIDS, PENALTY, float64, ROOM, MAPS, CODES)),
    "rows": (on_gpu.rows_kernel, (CODES, named(Spectrum, F1, N1, I1))),
}
