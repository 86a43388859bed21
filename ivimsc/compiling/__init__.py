"""How kernels are compiled: the options of `numba.njit`, in one place.

A kernel, which Python calls, is kept on disk (`KERNEL`, or `cache=True`) with all that it calls inside. What only kernels
call (`JIT`) is not: to write out every one of them as well takes a tenth to a quarter of the time
that a first fit compiles for. `ivimsc.compiling.cache` checks what is kept, and finds it a place.
"""

import ivimsc.compiling.cache  # noqa: F401, from here on kernels are kept in checked files

__all__ = ["JIT", "KERNEL", "LANE_JIT", "SUM_JIT"]

# nogil: blocks run on plain threads; numpy: a division by zero gives inf or NaN as in numpy, without the check that
# would raise (and that keeps loops from becoming vector instructions); no wrapper for C, which nobody calls from there.
JIT = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
KERNEL = {**JIT, "cache": True}

# What a compiler may change in floating-point arithmetic:
#   contract  a * b + c is one instruction with one rounding, where the processor has it
#   nsz       0.0 and -0.0 are the same
#   arcp      a division by a number that stays is a multiplication by its reciprocal
#   reassoc   a sum is taken in another order, so that eight or sixteen parts of it are summed side by side
# Never nnan or ninf: they would let the compiler drop the tests for NaN and Inf. The order that reassoc leads to is fixed
# when a kernel is compiled, and does not depend on the data, on threads or on chunks. So `SUM_JIT` is for functions
# whose sums may be taken in any order (short ones, or ones of numbers of one sign), and never for those that rely on rounding,
# such as the exponentials of `numerics.lanes`. `LANE_JIT` leaves sums in the order in which they are written.
LANE_JIT = {**JIT, "fastmath": {"contract", "nsz", "arcp"}}
SUM_JIT = {**JIT, "fastmath": {"contract", "nsz", "arcp", "reassoc"}}
