"""`fit` on a cluster: the same bytes in every dataset as here, whoever fitted which chunk, and whoever died."""

import os
import pickle
import signal

import numpy as np
import pytest

from ivimsc.device.launch import choose_device
from ivimsc.errors import DeviceError
from ivimsc.fit import FitJob, fit_file
from ivimsc.fit import file as fit_module
from ivimsc.fit.chunks import Chunk, Source, Unread, Work, crc32_of, fit_chunk, portable
from ivimsc.fit.prepare import prepare
from ivimsc.methods import METHODS, find_method
from ivimsc.store import EstimateStore, write_voxels
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import TEN, phantom
from tests.store.makers import contents

N = 600


@pytest.fixture(scope="module")
def voxels():
    index = np.stack(np.unravel_index(np.arange(N), (20, 30, 1), order="F"), 1).astype(np.int32)
    return Voxels(phantom(N, TEN, 30).signals, TEN, index, Geometry((20, 30, 1), np.eye(4)))


@pytest.fixture
def store(tmp_path, voxels):
    return write_voxels(tmp_path / "v.h5", voxels)


def fitted(store, method, out, **more):
    return contents(fit_file(FitJob(store, method, out, maps=False, chunk=64, **more)).store)


@pytest.mark.parametrize(
    ("method", "settings"), [("nlls", {}), ("ista", {}), ("bayes", {}), ("bayes", {"prior": "spatial"})]
)
def test_the_bytes_are_those_of_one_machine(store, tmp_path, cluster, method, settings):
    here = fitted(store, method, tmp_path / "here", settings=settings)
    assert fitted(store, method, tmp_path / "there", settings=settings, cluster=cluster) == here


def test_a_subset_of_b_values_is_read_by_the_workers(store, tmp_path, cluster, said):
    more = {"bvalues": TEN[1:]}
    assert fitted(store, "nlls", tmp_path / "there", cluster=cluster, **more) == fitted(
        store, "nlls", tmp_path / "here", **more
    )
    assert not any("cannot read" in line for line in said)


def test_workers_that_cannot_see_the_store_are_sent_the_signals(store, tmp_path, cluster, said, monkeypatch):
    here = fitted(store, "nlls", tmp_path / "here")
    monkeypatch.setattr(fit_module, "Source", lambda path, *rest: Source("/not/there.h5", *rest))
    assert fitted(store, "nlls", tmp_path / "there", cluster=cluster) == here
    assert sum("a worker cannot read the signals, and so they are sent (/not/there.h5" in line for line in said) == 1


def test_a_worker_is_killed_in_the_middle(store, tmp_path, cluster, said):
    """Not by its job but from outside, while chunks are under way: nothing is lost."""
    here = fitted(store, "bayes", tmp_path / "here")
    pids = list(cluster.client.run(os.getpid).values())

    def progress(done, total):
        if done >= 128 and pids:
            os.kill(pids.pop(), signal.SIGKILL)
            pids.clear()

    job = FitJob(store, "bayes", tmp_path / "there", maps=False, chunk=16, cluster=cluster)
    assert contents(fit_file(job, progress).store) == here and not pids


def test_a_fit_that_began_on_a_cluster_goes_on_here(store, tmp_path, cluster):
    here = fitted(store, "nlls", tmp_path / "here")

    def stop(done, total):
        if done >= 192:
            raise KeyboardInterrupt

    job = FitJob(store, "nlls", tmp_path / "there", maps=False, chunk=64, cluster=cluster)
    with pytest.raises(KeyboardInterrupt):
        fit_file(job, stop)
    assert fitted(store, "nlls", tmp_path / "there", resume=True) == here


def test_what_ran_where_is_kept(store, tmp_path, cluster):
    done = fit_file(FitJob(store, "nlls", tmp_path, maps=False, cluster=cluster))
    assert done.launch.threads == 2 and done.cpu_elsewhere > 0
    with EstimateStore(done.store) as kept:
        assert kept.threads == 2 and kept.device == "cpu"


def test_a_gpu_is_refused_beside_a_cluster(store, tmp_path):
    with pytest.raises(DeviceError, match="device: found cuda with a cluster, expected cpu"):
        fit_file(FitJob(store, "nlls", tmp_path, device="cuda", cluster="local:2"))


def test_the_command_starts_its_own_workers(store, tmp_path, capfd):
    from ivimsc.cli import main

    assert main(["fit", str(store), "--out", str(tmp_path / "out"), "--no-maps", "--cluster", "local:2"]) == 0
    out, err = capfd.readouterr()
    assert "cluster: local:2, 2 workers, 2 jobs at once" in out and f"{N} voxels in " in out
    assert all(line.startswith("fit nlls: ") for line in err.splitlines()), err
    assert contents(tmp_path / "out" / "v_nlls.h5") == fitted(store, "nlls", tmp_path / "here")


TRAVELLERS = [name for name, method in METHODS.items() if not method.trained or name == "scdnn"]


@pytest.mark.parametrize("method", [*TRAVELLERS, "spatial"])
def test_every_method_travels(voxels, method):
    """What is made ready survives the way to a worker, and gives the same there."""
    b = np.array([0, 10, 20, 40, 80, 150, 300, 500, 800, 1200.0])  # for kurtosis too
    chosen = Voxels(phantom(N, b, 30).signals, b, voxels.index, voxels.geometry)
    settings = {"prior": "spatial"} if method == "spatial" else {}
    record = find_method("bayes" if method == "spatial" else method)
    prepared = prepare(record, settings, chosen, choose_device("cpu"))
    sent = pickle.loads(pickle.dumps(portable(prepared, 1)))
    assert sent.fitter.launch.threads == 1 and not sent.notes
    one, other = (ready.fit(chosen.signals[100:150].copy(), 100) for ready in (prepared, sent))
    for (key, here), (_, there) in zip(one.items(), other.items(), strict=True):
        np.testing.assert_array_equal(here, there, err_msg=key)


class TestReading:
    def chunk(self, store, **more):
        signals = np.ascontiguousarray(phantom(N, TEN, 30).signals[10:20])
        return Chunk(10, 20, "", crc32_of(signals, None))._replace(**more)

    def work(self, voxels, store, **more):
        prepared = prepare(find_method("adc"), {}, voxels, choose_device("cpu", 1))
        return Work(prepared, Source(str(store), voxels.signals_sha256, None)._replace(**more))

    def test_a_worker_reads_its_chunk(self, voxels, store):
        found = fit_chunk(self.work(voxels, store), self.chunk(store))
        direct = fit_chunk(self.work(voxels, store), self.chunk(store, signals=voxels.signals[10:20]))
        np.testing.assert_array_equal(found.estimates.D, direct.estimates.D)

    @pytest.mark.parametrize("more", [{"path": "/not/there.h5"}, {"signals_sha256": "0" * 64}])
    def test_another_store_is_not_read(self, voxels, store, more):
        found = fit_chunk(self.work(voxels, store, **more), self.chunk(store))
        assert isinstance(found, Unread) and "expected" in found.why

    def test_other_signals_than_the_client_read_are_not_fitted(self, voxels, store):
        found = fit_chunk(self.work(voxels, store), self.chunk(store, crc32=1))
        assert isinstance(found, Unread) and "found other signals in the voxels 10 to 20" in found.why
