"""The NVIDIA driver is asked which GPUs answer, and if there is none, why."""

import re
import subprocess
import sys

import pytest

from ivimsc.device.driver import find_gpus, gpu_of_pointer


class Driver:
    """A CUDA driver that answers as told; pointers come as `ctypes.byref` passes them."""

    def __init__(self, init=0, speaks=13000, names=("A", "B")):
        self.init, self.speaks, self.names = init, speaks, names

    def cuInit(self, flags):
        return self.init

    def cuDriverGetVersion(self, version):
        version._obj.value = self.speaks
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device, index):
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, text, size, device):
        text.value = self.names[device.value].encode()
        return 0

    def cuPointerGetAttribute(self, ordinal, attribute, pointer):
        ordinal._obj.value = 1 if attribute == 9 and pointer.value >= 1000 else 0
        return 0


@pytest.mark.parametrize(
    ("driver", "package", "reason"),
    [
        (None, "13.5", "no NVIDIA driver"),
        (Driver(init=100), "13.5", "finds no GPU"),
        (Driver(init=803), "13.5", "different versions"),
        (Driver(init=999), "13.5", "error 999"),
        (Driver(names=()), "13.5", "finds no GPU"),
        (Driver(), None, r"not installed: pip install 'ivimsc\[cuda\]'"),
        (Driver(speaks=12040), "13.5", r"too old: found one for CUDA 12.4, expected CUDA 13 .*numba-cuda\[cu12\]"),
    ],
)
def test_the_reason_why_no_gpu_can_be_used(driver, package, reason):
    names, found = find_gpus(lambda: driver, lambda: package)
    assert names == []
    assert re.search(reason, found)


def test_gpus_that_answer_are_named_in_order():
    assert find_gpus(Driver, lambda: "12.9") == (["A", "B"], "")


def test_the_gpu_of_a_pointer():
    assert gpu_of_pointer(1000, Driver) == 1
    assert gpu_of_pointer(1000, lambda: None) == 0


def test_this_machine_is_asked_without_a_cuda_package():
    """In a process of its own: names or a reason, and none of the packages that take seconds to load."""
    code = (
        "import sys; from ivimsc.device.driver import find_gpus; names, reason = find_gpus();"
        "assert bool(names) != bool(reason); print(sorted({'numba', 'cuda', 'numba_cuda', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
