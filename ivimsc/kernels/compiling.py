"""How kernels are compiled: the options of `numba.njit`, in one place."""

__all__ = ["JIT", "LANE_JIT"]

# nogil: blocks run on plain threads; numpy: a division by zero gives inf or NaN as in numpy, without the check that
# would raise (and that keeps loops from becoming vector instructions).
JIT = {"cache": True, "nogil": True, "error_model": "numpy"}

# Never nnan or ninf: they would let the compiler drop the tests for NaN and Inf. No reassoc: sums keep their order.
LANE_JIT = {**JIT, "fastmath": {"contract", "nsz", "arcp"}}
