"""`fit --part i/n` and `join`: the same bytes in every dataset as the fit in one piece; and what does not belong together."""

import itertools

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file, join_parts
from ivimsc.fit.parts import part_range
from ivimsc.store import EstimateStore, write_voxels
from tests.conftest import TEN, as_voxels, phantom
from tests.store.makers import contents

N = 500


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_voxels(tmp_path_factory.mktemp("store") / "v.h5", as_voxels(phantom(N, TEN, 30).signals, TEN))


def part(store, out, number, of, method="nlls", **more):
    return fit_file(FitJob(store, method, out, part=(number, of), **more)).store


@pytest.fixture(scope="module")
def three(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("three")
    return [part(store, out, number, 3) for number in (1, 2, 3)]


@pytest.mark.parametrize(("n", "of"), [(1, 1), (10, 3), (7, 7), (1000, 16)])
def test_parts_cover_all_voxels_once_and_evenly(n, of):
    ranges = [part_range((k, of), n) for k in range(1, of + 1)]
    assert ranges[0].start == 0 and ranges[-1].stop == n
    assert all(a.stop == b.start for a, b in itertools.pairwise(ranges))
    sizes = [r.stop - r.start for r in ranges]
    assert max(sizes) - min(sizes) <= 1 and min(sizes) >= 1


@pytest.mark.parametrize("method", ["nlls", "bayes", "ista"])
def test_joined_parts_are_the_whole(store, tmp_path, method):
    whole = fit_file(FitJob(store, method, tmp_path / "whole"))
    parts = [part(store, tmp_path / f"machine {k}", k, 3, method) for k in (2, 1, 3)]
    assert [path.name for path in parts] == [f"v_{method}_part-{k}-of-3.h5" for k in (2, 1, 3)]
    joined = join_parts(parts, tmp_path / "joined")
    assert contents(joined.store) == contents(whole.store)
    assert joined.store.name == whole.store.name and joined.outcomes == whole.outcomes
    assert [path.name for path in joined.maps] == [path.name for path in whole.maps]
    for one, other in zip(joined.maps, whole.maps, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with EstimateStore(joined.store) as a, EstimateStore(whole.store) as b:
        assert a.notes == b.notes and a.header.keys() == b.header.keys() and a.signals_sha256 == b.signals_sha256
        assert {k: v for k, v in a.header.items() if k != "bvalues"} == {
            k: v for k, v in b.header.items() if k != "bvalues"
        }


def test_a_part_is_an_estimate_store_of_its_voxels(three, store):
    with EstimateStore(three[1]) as kept:
        assert len(kept) == 167 and kept.verify() == []
        np.testing.assert_array_equal(kept.index[:][:, 0], np.arange(166, 333))
    assert not list(three[1].parent.glob("*.nii.gz"))


def test_a_part_that_was_stopped_goes_on(store, three, tmp_path):
    def stop(done, total):
        if done >= 64:
            raise KeyboardInterrupt

    job = FitJob(store, "nlls", tmp_path, part=(2, 3), chunk=32)
    with pytest.raises(KeyboardInterrupt):
        fit_file(job, stop)
    assert contents(part(store, tmp_path, 2, 3, resume=True)) == contents(three[1])


class TestRefused:
    @pytest.mark.parametrize("which", [(0, 3), (4, 3), (1, 0), (-1, 2), (1, 200_000)])
    def test_what_is_no_part(self, store, tmp_path, which):
        with pytest.raises(InputError, match="part: found .* expected i/n"):
            part(store, tmp_path / "out", *which)
        assert not (tmp_path / "out").exists()

    def test_more_parts_than_voxels(self, store, tmp_path):
        with pytest.raises(InputError, match="found 501 parts of 500 voxels"):
            part(store, tmp_path, 1, N + 1)

    def test_a_part_that_is_missing(self, three, tmp_path):
        with pytest.raises(InputError, match="parts: found 2 of 3, expected all: 2 missing"):
            join_parts([three[0], three[2]], tmp_path)

    def test_a_part_that_comes_twice(self, three, tmp_path):
        with pytest.raises(InputError, match="found part 2 twice"):
            join_parts([*three, three[1]], tmp_path)

    def test_a_part_of_another_fit(self, three, store, tmp_path):
        other = part(store, tmp_path, 2, 3, settings={"max_iterations": 7})
        with pytest.raises(InputError, match="found option max_iterations 7, expected 60 as in .*part-1-of-3"):
            join_parts([three[0], other, three[2]], tmp_path / "out")

    def test_parts_of_another_number(self, three, store, tmp_path):
        with pytest.raises(InputError, match="found part 2 of 2, expected one of 3"):
            join_parts([three[0], part(store, tmp_path, 2, 2)], tmp_path / "out")

    def test_a_whole_fit(self, three, store, tmp_path):
        whole = fit_file(FitJob(store, "nlls", tmp_path, maps=False)).store
        with pytest.raises(InputError, match="found the estimates of a whole fit"):
            join_parts([three[0], whole], tmp_path / "out")

    def test_results_that_are_there(self, three, tmp_path):
        join_parts(three, tmp_path, maps=False)
        with pytest.raises(InputError, match="force=True"):
            join_parts(three, tmp_path, maps=False)
        join_parts(three, tmp_path, force=True)

    def test_a_damaged_part(self, three, tmp_path):
        damaged = tmp_path / three[1].name
        damaged.write_bytes(three[1].read_bytes()[:-100])
        with pytest.raises(InputError, match="part-2-of-3"):
            join_parts([three[0], damaged, three[2]], tmp_path / "out")


def test_the_commands(ivimsc_words, store, three, tmp_path, capsys):
    assert ivimsc_words("join", *three, "--out", tmp_path, "--no-maps") == 0
    assert "3 parts on cpu" in capsys.readouterr().out
    for words, says in (
        (["--part", "2"], "--part: found '2', expected i/n, such as 2/16"),
        (["--part", "5/3"], "--part: found 5/3"),
        (["--part", "1/3", "--report"], "--report: found it with a part"),
    ):
        assert ivimsc_words("fit", store, "--out", tmp_path / "out", *words) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def ivimsc_words():
    from ivimsc.cli import main

    return lambda *words: main([str(word) for word in words])
