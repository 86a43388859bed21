"""How kernels are compiled: the options of `numba.njit`, in one place.

A kernel, which Python calls, is kept on disk (`KERNEL`, or `cache=True`) with all that it calls inside. What only kernels
call (`JIT`) is not: to write out every one of them as well takes a tenth to a quarter of the time
that a first fit compiles for.
"""

__all__ = ["JIT", "KERNEL", "LANE_JIT"]

# nogil: blocks run on plain threads; numpy: a division by zero gives inf or NaN as in numpy, without the check that
# would raise (and that keeps loops from becoming vector instructions); no wrapper for C, which nobody calls from there.
JIT = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
KERNEL = {**JIT, "cache": True}

# Never nnan or ninf: they would let the compiler drop the tests for NaN and Inf. No reassoc: sums keep their order.
LANE_JIT = {**JIT, "fastmath": {"contract", "nsz", "arcp"}}
