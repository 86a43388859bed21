"""The CPU's jitted functions for a GPU: the same source, compiled anew.

Numba would take an ``@njit`` function into a CUDA kernel by itself, but with ``fastmath`` as a whole where the CPU's
version asks for single flags: that drops the tests for NaN and lets exp32's rounding trick be simplified away. So
`as_device` rebuilds a function, and all jitted functions that it calls, without flags. NVVM contracts products and sums
to one instruction anyway.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import config, cuda

from ivimsc.compiling.cache import guard

__all__ = ["SIMULATED", "as_device"]

SIMULATED = bool(config.ENABLE_CUDASIM)
if not SIMULATED:
    from numba.cuda.core import caching

    guard(caching)  # every module of kernels imports this one before it makes any
_built: dict[Any, Callable] = {}


def as_device(function: Any) -> Callable:
    """The device function of an ``@njit`` function; under Numba's CUDA simulator, plain Python of the same source."""
    if function not in _built:
        source = function.py_func
        names = dict(source.__globals__)
        for name in source.__code__.co_names:
            if hasattr(names.get(name), "py_func"):
                names[name] = as_device(names[name])
        rebuilt = FunctionType(source.__code__, names, source.__name__, source.__defaults__)
        rebuilt.__module__, rebuilt.__qualname__ = source.__module__, source.__qualname__
        _built[function] = rebuilt if SIMULATED else cuda.jit(device=True)(rebuilt)
    return _built[function]
