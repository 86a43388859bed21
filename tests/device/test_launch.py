"""The device is decided in one place: what the driver says, and what follows from it."""

import ctypes

import pytest

from ivimsc.device import launch
from ivimsc.device.driver import find_gpus, gpu_of_pointer
from ivimsc.device.launch import choose_device
from ivimsc.errors import DeviceError, InputError


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
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found)


def test_gpus_that_answer_are_named_in_order():
    assert find_gpus(Driver, lambda: "12.9") == (["A", "B"], "")


def test_the_gpu_of_a_pointer():
    assert gpu_of_pointer(1000, Driver) == 1
    assert gpu_of_pointer(1000, lambda: None) == 0


def test_this_machine_is_asked_without_an_exception():
    names, reason = find_gpus()
    assert bool(names) != bool(reason)
    assert ctypes  # the driver is a plain C library: no CUDA package is imported to ask it


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(launch, "find_gpus", lambda: (["A30", "A100"], ""))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, "find_gpus", lambda: ([], "no driver here"))


def test_auto_takes_a_gpu_that_answers_and_says_so(two_gpus):
    chosen = choose_device("auto", task="nlls")
    assert (chosen.device, chosen.gpu, chosen.on_gpu) == ("cuda:0", 0, True)
    assert "A30" in chosen.notes[0] and "device='cpu'" in chosen.notes[0]


def test_auto_says_why_a_gpu_is_left_alone(two_gpus):
    chosen = choose_device("auto", task="mlp", on_cuda=False)
    assert not chosen.on_gpu and "mlp has no CUDA kernels" in chosen.notes[0]


def test_auto_without_a_gpu_is_the_cpu(no_gpu):
    assert choose_device("auto", task="nlls").device == "cpu" and choose_device("auto", task="nlls").notes == []


def test_what_has_no_task_stays_on_the_cpu(two_gpus):
    assert choose_device("auto").device == "cpu"


def test_a_gpu_by_number(two_gpus):
    assert choose_device("cuda:1", task="nlls").gpu == 1
    with pytest.raises(DeviceError, match=r"'cuda:2', expected cuda:0 \(A30\), cuda:1 \(A100\)"):
        choose_device("cuda:2", task="nlls")


def test_a_gpu_that_is_missing_is_an_error_with_the_reason(no_gpu):
    with pytest.raises(DeviceError, match="no driver here"):
        choose_device("cuda", task="nlls")


def test_a_method_without_cuda_kernels_is_an_error_that_names_those_with(two_gpus):
    with pytest.raises(DeviceError, match="mlp has no CUDA kernels"):
        choose_device("cuda", task="mlp")


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", "auto:0", "cuda:-1", ""])
def test_unknown_devices(device):
    with pytest.raises(DeviceError, match="expected auto, cpu or cuda"):
        choose_device(device)


def test_threads_are_checked_for_a_gpu_too(two_gpus):
    with pytest.raises(InputError, match="^threads: "):
        choose_device("cuda", threads=0, task="nlls")
