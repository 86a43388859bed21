"""Which GPUs answer, asked of the NVIDIA driver itself: no CUDA package is loaded, so that asking takes milliseconds."""

import ctypes
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

__all__ = ["find_gpus", "gpu_of_pointer"]

LIBRARIES = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1")
NO_DEVICE = 100
DEVICE_ORDINAL = 9  # CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
CODES = {
    34: "the driver is a stub, made for building only",
    35: "the driver is too old for its CUDA library",
    NO_DEVICE: "the NVIDIA driver finds no GPU (CUDA_VISIBLE_DEVICES hides those that it does not name)",
    803: "the NVIDIA driver's library and its kernel module are of different versions",
    804: "the NVIDIA driver's compatibility package does not support this GPU",
}


def _load() -> ctypes.CDLL | None:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _package() -> str | None:
    """Version of CUDA that the installed package compiles for ("13.5", say), or None where it is not installed."""
    if find_spec("numba_cuda") is None:
        return None
    try:
        return version("cuda-bindings")
    except PackageNotFoundError:
        return "0"


def find_gpus(
    load: Callable[[], ctypes.CDLL | None] = _load, package: Callable[[], str | None] = _package
) -> tuple[list[str], str]:
    """Names of the GPUs that can be used, in the driver's order, and why there are none.

    Returns
    -------
    names, reason : one of the two is empty
    """
    driver = load()
    if driver is None:
        return [], f"no NVIDIA driver ({LIBRARIES[0]}) on this machine"
    code = driver.cuInit(0)
    if code:
        return [], CODES.get(code, f"the NVIDIA driver does not start (error {code})")
    speaks, count = ctypes.c_int(), ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(speaks)) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return [], "the NVIDIA driver does not answer"
    if count.value == 0:
        return [], CODES[NO_DEVICE]
    wanted = package()
    if wanted is None:
        return [], "the package numba-cuda is not installed: pip install 'ivimsc[cuda]'"
    major, found = int(wanted.split(".")[0]), speaks.value // 1000
    if found < major:
        driver_speaks = f"CUDA {found}.{speaks.value % 1000 // 10}"
        return [], f"the NVIDIA driver is too old: found one for {driver_speaks}, expected CUDA {major} or newer (or, for this driver, pip install 'numba-cuda[cu{found}]')"  # fmt: skip
    return [_name(driver, index) for index in range(count.value)], ""


def _name(driver: ctypes.CDLL, index: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(128)
    failed = driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetName(text, 128, device)
    return f"GPU {index}" if failed else text.value.decode(errors="replace")


def gpu_of_pointer(pointer: int, load: Callable[[], ctypes.CDLL | None] = _load) -> int:
    """Number of the GPU whose memory `pointer` is in; 0 where the driver does not know."""
    ordinal = ctypes.c_int()
    driver = load()
    failed = driver is None or driver.cuPointerGetAttribute(ctypes.byref(ordinal), DEVICE_ORDINAL, ctypes.c_uint64(pointer))  # fmt: skip
    return 0 if failed else ordinal.value
