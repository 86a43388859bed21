"""Types of kernel arguments, by short names: F float32, D float64, I int64, N int32, with the number of dimensions."""

from numba import float32, float64, int32, int64, types

F1, F2, F3, F4 = float32[::1], float32[:, ::1], float32[:, :, ::1], float32[:, :, :, ::1]
D1, D2, D3, I1, I2, N1 = float64[::1], float64[:, ::1], float64[:, :, ::1], int64[::1], int64[:, ::1], int32[::1]
SPAN = (int64, int64)  # first voxel, number of voxels


def named(kind, *fields):
    """The type of a NamedTuple, whose fields have these types."""
    if len(set(fields)) == 1:
        return types.NamedUniTuple(fields[0], len(fields), kind)
    return types.NamedTuple(fields, kind)
