"""The device is decided in one place: what follows from the GPUs that answer, and blocks on threads."""

import numpy as np
import pytest

from ivimsc.device import launch
from ivimsc.device.launch import Launch, choose_device, leave_gpu, run_blocks, usable_cores
from ivimsc.errors import DeviceError, InputError


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(launch, "find_gpus", lambda: (["A30", "A100"], ""))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(launch, "find_gpus", lambda: ([], "no driver here"))


def test_auto_takes_a_gpu_that_answers_and_says_so(two_gpus):
    chosen = choose_device("auto", task="nlls")
    assert (chosen.device, chosen.gpu, chosen.on_gpu) == ("cuda:0", 0, True)
    assert "A30" in chosen.notes[0] and "cpu" in chosen.notes[0]


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


def test_a_method_without_cuda_kernels_is_an_error(two_gpus):
    with pytest.raises(DeviceError, match="mlp has no CUDA kernels"):
        choose_device("cuda", task="mlp", on_cuda=False)


@pytest.mark.parametrize("device", ["tpu", "cuda:x", "cpu:1", "auto:0", "cuda:-1", ""])
def test_unknown_devices(device):
    with pytest.raises(DeviceError, match="expected auto, cpu or cuda"):
        choose_device(device)


def test_threads_are_checked_for_a_gpu_too(two_gpus):
    with pytest.raises(InputError, match="threads: found 0, expected 1 to"):
        choose_device("cuda", threads=0, task="nlls")


def test_threads_default_to_all_cores():
    assert choose_device("cpu").threads == usable_cores()
    with pytest.raises(InputError, match=f"found {usable_cores() + 1}, expected 1 to {usable_cores()}"):
        choose_device("cpu", threads=usable_cores() + 1)


def test_a_gpu_is_left_only_where_it_was_not_asked_for_by_name():
    left = leave_gpu(Launch("cuda:0", 1, automatic=True), "too new")
    assert left.device == "cpu" and left.threads == 1 and "too new" in left.notes[0]
    with pytest.raises(DeviceError, match="found cuda:0, expected cpu or auto: too new"):
        leave_gpu(Launch("cuda:0", 1), "too new")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 10, 11])
def test_blocks_cover_every_voxel_once(threads, n):
    calls, counts = [], np.zeros(n, int)

    def kernel(start, stop, counts, word):
        assert word == "passed on"
        calls.append((start, stop))
        counts[start:stop] += 1

    run_blocks(Launch("cpu", threads), kernel, n, counts, "passed on", block=5)
    assert np.all(counts == 1)
    assert sorted(calls) == [(k, min(k + 5, n)) for k in range(0, n, 5)]


def test_an_error_in_a_block_is_raised():
    def kernel(start, stop):
        if start == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_blocks(Launch("cpu", 2), kernel, 20, block=5)
