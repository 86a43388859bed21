"""Every CUDA kernel compiles to PTX for current cards, with its numbers in registers; no GPU is needed for that."""

import re

import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install 'ivimsc[cuda]'")

from numba import cuda
from numba.cuda import dispatcher
from numba.cuda.cudadrv import nvvm

from tests.device.signatures import KERNELS

HOPPER, AMPERE = (9, 0), (8, 0)


def _missing():
    """Why nothing can be compiled here, or None."""
    try:
        nvvm.NVVM()
        from numba.cuda.cudadrv.nvrtc import get_supported_ccs

        return None if HOPPER in get_supported_ccs() else "NVRTC does not know sm_90"
    except Exception as error:  # several packages, each with exceptions of its own
        return f"NVVM or NVRTC is missing: {error}".splitlines()[0]


pytestmark = pytest.mark.skipif(_missing() is not None, reason=str(_missing()))


class Card:
    """What numba asks of the current GPU when it compiles a device function."""

    compute_capability = HOPPER


def compiled(name, card, monkeypatch):
    kernel, arguments = KERNELS[name]
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: Card)
    return cuda.compile_ptx(kernel.py_func, arguments, cc=card)[0]


@pytest.mark.parametrize(("name", "card"), [*((name, HOPPER) for name in KERNELS), ("search", AMPERE)])
def test_compiles(name, card, monkeypatch):
    ptx = compiled(name, card, monkeypatch)
    assert f".target sm_{card[0]}{card[1]}" in ptx
    assert ".visible .entry" in ptx
    assert ".extern .func" not in ptx  # a helper of Numba's that only its linker finds
    # No flags of fastmath: approximate division and roots, denormals as zero; ex2 is not of our exponential either.
    assert not re.findall(r"(div|sqrt|ex2|lg2)\.approx|\.f32\.ftz|\.ftz\.f32", ptx)
    local = ".local" in ptx
    assert local == (name == "acquire")  # there cos() keeps a table for huge angles; all else is registers


def test_newton_steps_are_float32(monkeypatch):
    """A parameter that the search does not read may be float64; nothing is computed in it."""
    ptx = compiled("search", HOPPER, monkeypatch)
    assert not [line for line in ptx.splitlines() if ".f64" in line and ".param" not in line]
