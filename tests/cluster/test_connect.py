"""The way to a cluster: what is no address, does not answer, has no workers, or runs another version is one line."""

import pickle
import socket

import pytest

from ivimsc.cluster import connect, opened_cluster, worker
from ivimsc.errors import InputError


def refused(cluster, says):
    with pytest.raises(InputError, match=says) as caught, opened_cluster(cluster):
        pass
    assert str(caught.value).startswith("cluster: found ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "local", "local:", "local:0", "local:-2", "local:1000", "local:x", "host", "a host:80"]
)
def test_what_is_no_address(text):
    refused(text, r"expected local:N \(N workers here, 1 to 256\), or the address of a Dask scheduler")


def test_nothing_and_an_open_one_are_given_back(cluster):
    with opened_cluster(None) as none, opened_cluster(cluster) as same:
        assert none is None and same is cluster
    assert cluster.slots()  # and it stays open


@pytest.mark.parametrize("listening", [False, True], ids=["nobody", "silent"])
def test_a_scheduler_that_does_not_answer(monkeypatch, listening):
    monkeypatch.setattr(connect, "PATIENCE", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        if listening:
            silent.listen()
        refused(f"tcp://127.0.0.1:{silent.getsockname()[1]}", "no scheduler that answers at .* within 1 s")


def test_a_scheduler_file_that_is_not_there(tmp_path):
    refused(str(tmp_path / "none.json"), "no file .*none.json")


def test_a_scheduler_file_will_do(machines, address, said):
    with opened_cluster(str(machines.file), say=said.append) as made:
        assert len(made.slots()) == 2
    assert said == [f"cluster: {machines.file}, 2 workers, 2 jobs at once, 1 thread a job"]


def test_workers_of_another_version_are_refused_with_both_named(address, monkeypatch):
    """The client claims to be another version: to it, all workers are strangers."""
    mine = worker.__version__
    monkeypatch.setattr(worker, "__version__", "9.8.7")
    refused(address, f"found ivimsc {mine} on tcp://.*, expected 9.8.7 as here")


def test_a_worker_that_joins_late_is_refused_too():
    found = worker.call(max, "x", pickle.dumps(1), 2, "9.8.7")
    assert f"found ivimsc {worker.__version__} on" in str(found.error) and "expected 9.8.7 as here" in str(found.error)
    assert worker.call(max, "x", pickle.dumps(1), 2, worker.__version__) == 2


class TestSame:
    mine = worker.about()

    def said(self, **found):
        said = []
        connect.require_same(self.mine, found, said.append)
        return said

    def test_the_same_is_no_news(self):
        assert self.said(a=self.mine, b=self.mine) == []

    @pytest.mark.parametrize("field", ["compilers", "processor"])
    def test_other_digits_are_to_be_expected_of_other_compilers_and_processors(self, field):
        (line,) = self.said(a=self.mine, b=self.mine._replace(**{field: "z80"}))
        assert (
            line.startswith("warning: the workers have other") and "z80" in line and getattr(self.mine, field) in line
        )

    def test_the_scheduler_computes_nothing(self):
        assert self.said(**{connect.SCHEDULER: self.mine._replace(processor="z80")}) == []

    def test_a_worker_without_ivimsc(self):
        for error, says in (
            (ModuleNotFoundError("x"), "found no ivimsc on w1"),
            (RuntimeError("y"), "no ivimsc that starts"),
        ):
            with pytest.raises(InputError, match=says):
                self.said(w1=error)
