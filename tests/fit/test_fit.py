"""`fit_signals` on every kind of array that users have, and `fit_file` where commands cannot show it."""

import tracemalloc

import numpy as np
import pytest

import ivimsc
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fit import FitJob, fit_file
from ivimsc.methods import METHODS
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, PartFile, write_voxels
from tests.conftest import TEN, as_voxels, phantom

FIELDS = ("S0", "f", "D", "Dstar", "rmse", "outcome", "fstd", "dstd", "dstarstd")


def stop(*_, **__):
    raise KeyboardInterrupt


def same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


@pytest.fixture(scope="module")
def measured():
    return phantom(60, TEN, 50).signals


@pytest.mark.parametrize("shape", [(), (60,), (5, 12), (3, 4, 5), (0,), (4, 0)])
def test_fields_have_the_shape_of_the_signals_without_the_b_axis(measured, shape):
    rows = measured[: int(np.prod(shape))]
    estimates = ivimsc.fit_signals(rows.reshape(*shape, 10), TEN)
    whole = ivimsc.fit_signals(measured, TEN)
    assert isinstance(estimates, Estimates)
    for name in FIELDS:
        assert getattr(estimates, name).shape == shape
        np.testing.assert_array_equal(getattr(estimates, name).ravel(), getattr(whole, name)[: len(rows)])


def test_memory_layout_and_wider_types_change_nothing(measured):
    expected = ivimsc.fit_signals(measured, TEN)
    same(ivimsc.fit_signals(measured.astype(np.float64), TEN), expected)
    same(ivimsc.fit_signals(np.asfortranarray(measured), TEN), expected)
    padded = np.zeros((120, 20), np.float32)
    padded[::2, ::2] = measured
    same(ivimsc.fit_signals(padded[::2, ::2], TEN), expected)
    same(ivimsc.fit_signals(measured.astype(">f4"), TEN), expected)
    same(ivimsc.fit_signals(measured.tolist(), TEN.tolist()), ivimsc.fit_signals(measured, TEN))


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint8])
def test_integers_are_the_numbers_that_they_are(measured, dtype):
    counts = np.round(measured * 180).astype(dtype)
    same(ivimsc.fit_signals(counts, TEN), ivimsc.fit_signals(counts.astype(np.float32), TEN))


def test_input_is_not_written_to(measured):
    frozen = measured.copy()
    frozen.flags.writeable = False
    ivimsc.fit_signals(frozen, TEN)
    np.testing.assert_array_equal(frozen, measured)


def test_order_of_bvalues_changes_nothing_and_repeats_are_averaged(measured):
    expected = ivimsc.fit_signals(measured, TEN)
    order = np.random.default_rng(1).permutation(10)
    same(ivimsc.fit_signals(measured[:, order], TEN[order]), expected)
    coarse = np.round(measured * 4096) / np.float32(4096)  # so that its parts, and their mean, are exact in float32
    twice = np.concatenate([coarse * 0.75, coarse * 1.25], axis=1)
    doubled, once = ivimsc.fit_signals(twice, np.tile(TEN, 2)), ivimsc.fit_signals(coarse, TEN)
    for name in (
        "S0",
        "f",
        "D",
        "rmse",
    ):  # two images weigh twice as much, everywhere: float32 rounds otherwise, no more
        np.testing.assert_allclose(getattr(doubled, name), getattr(once, name), rtol=2e-3, atol=2e-5, err_msg=name)
    assert np.mean(doubled.outcome == once.outcome) > 0.95  # but for voxels at the edge of a rule


@pytest.mark.parametrize("method", ["segmented", "nlls"])
def test_truth_without_noise_comes_back(method):
    p = phantom(500)
    estimates = ivimsc.fit_signals(p.signals, TEN, method=method)
    if method == "nlls":  # float32 signals: 1e-7 of S0, times the condition of the problem
        np.testing.assert_allclose(estimates.f, p.f, atol=2e-3)
        np.testing.assert_allclose(estimates.D, p.D, atol=1e-5)
    else:  # a biased method (D* is not quite gone at b = 200): it must be near, and nowhere lost
        assert np.median(np.abs(estimates.f - p.f)) < 0.05
    assert np.all(estimates.outcome != Outcome.BAD_SIGNAL)


def test_a_bad_voxel_is_told_and_its_neighbours_are_untouched(measured):
    expected = ivimsc.fit_signals(measured, TEN)
    bad = measured.copy()
    bad[7, 3], bad[8, 0], bad[9] = np.nan, np.inf, 0
    estimates = ivimsc.fit_signals(bad, TEN)
    assert list(estimates.outcome[7:10]) == [Outcome.BAD_SIGNAL] * 3
    assert np.all(np.isnan([estimates.f[7:10], estimates.D[7:10], estimates.Dstar[7:10], estimates.S0[7:10]]))
    others = np.r_[0:7, 10:60]
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(estimates, name)[others], getattr(expected, name)[others])


def test_numbers_beyond_float32_are_bad_signals_without_a_warning(measured, recwarn):
    huge = measured.astype(np.float64)
    huge[0] = 1e300
    assert ivimsc.fit_signals(huge, TEN).outcome[0] == Outcome.BAD_SIGNAL
    assert not recwarn.list


@pytest.mark.parametrize(
    ("signals", "bvalues", "says"),
    [
        (np.ones((4, 9)), TEN, r"found shape \(4, 9\), expected \(…, 10\)"),
        (np.float32(1), TEN, r"found shape \(\)"),
        (np.ones((4, 10)) * 1j, TEN, "complex128"),
        (np.full((4, 10), "a"), TEN, "expected real numbers"),
        (np.ones((4, 3)), [0, 50, 500], "4"),
        (np.ones((4, 10)), [*TEN[:9], -1], "-1"),
        (np.ones((4, 10)), [*TEN[:9], np.nan], "nan"),
        (np.ones((4, 0)), [], "expected"),
    ],
)
def test_arrays_that_cannot_be_fitted_are_told_in_one_line(signals, bvalues, says):
    with pytest.raises(InputError, match=says) as error:
        ivimsc.fit_signals(signals, bvalues)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("keywords", "says"),
    [
        ({"method": "magic"}, ", ".join(METHODS)),
        ({"device": "cuda"}, "cuda"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
        ({"threads": 0}, "--threads|threads"),
        ({"nonsense": 1}, "max_iterations"),
        ({"max_iterations": 0}, "at least 1"),
        ({"d_bounds": (2e-3, 1e-3)}, "lower < upper"),
    ],
)
def test_options_that_do_not_exist_are_told(measured, keywords, says):
    with pytest.raises(InputError, match=says):
        ivimsc.fit_signals(measured, TEN, **keywords)


class TestFile:
    @pytest.fixture
    def store(self, tmp_path, measured):
        write_voxels(tmp_path / "v.h5", as_voxels(measured, TEN))
        return tmp_path / "v.h5"

    def test_file_and_array_agree_to_the_last_bit(self, store, tmp_path, measured):
        done = fit_file(FitJob(store, "nlls", tmp_path / "out"))
        with EstimateStore(done.store) as found:
            same(found.read(), ivimsc.fit_signals(measured, TEN))
        assert sum(done.outcomes.values()) == done.voxels == 60

    def test_what_was_chosen_is_said_before_the_fit_and_progress_reaches_the_end(self, store, tmp_path):
        said, seen = [], []
        fit_file(
            FitJob(store, "segmented", tmp_path / "out", chunk=25),
            lambda *at: seen.append((len(said), at)),
            said.append,
        )
        assert any("split b" in line for line in said)
        assert [at for _, at in seen] == [(0, 60), (25, 60), (50, 60), (60, 60)]
        assert seen[0][0] == len(said)

    def test_stopped_between_the_store_and_its_maps_resume_writes_the_maps(self, store, tmp_path):
        out = tmp_path / "out"
        done = fit_file(FitJob(store, "nlls", out, maps=False))
        before = done.store.read_bytes()
        assert len(fit_file(FitJob(store, "nlls", out, resume=True)).maps) == 10
        assert done.store.read_bytes() == before
        with pytest.raises(
            InputError, match="v_nlls.h5: found option max_iterations 60, expected 7 as in this fit; force"
        ):
            fit_file(FitJob(store, "nlls", out, resume=True, settings={"max_iterations": "7"}))
        with pytest.raises(InputError, match="force"):
            fit_file(FitJob(store, "nlls", out))
        assert done.store.read_bytes() == before

    @pytest.mark.parametrize("stopped", ["between the store and its maps", "in the middle"])
    def test_resume_does_not_take_up_the_fit_of_other_signals(self, store, tmp_path, measured, monkeypatch, stopped):
        """As many voxels, the same b-values, method and options: the checksum of the signals alone tells."""
        out = tmp_path / "out"
        if stopped == "in the middle":
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(PartFile, "finish", stop)
                fit_file(FitJob(store, "nlls", out))
        else:
            fit_file(FitJob(store, "nlls", out, maps=False))
        before = {path: path.read_bytes() for path in out.iterdir()}
        write_voxels(store, as_voxels(measured * 1.5, TEN), force=True)
        with pytest.raises(InputError, match="signals_sha256"):
            fit_file(FitJob(store, "nlls", out, resume=True))
        assert {path: path.read_bytes() for path in out.iterdir()} == before

    def test_draws_belong_to_the_voxel_and_not_to_its_chunk(self, tmp_path):
        """bayes draws at random by the number of the voxel in the file, which every chunk has to be told."""
        write_voxels(tmp_path / "v.h5", as_voxels(phantom(300, TEN, 20, seed=4).signals, TEN))
        found = []
        for chunk in (300, 64, 7):
            job = FitJob(tmp_path / "v.h5", "bayes", tmp_path / str(chunk), maps=False, chunk=chunk)
            with EstimateStore(fit_file(job).store) as estimates:
                found.append(estimates.read())
        for other in found[1:]:
            for key, values in found[0].items():
                np.testing.assert_array_equal(dict(other.items())[key], values, err_msg=key)

    def test_a_subset_of_the_bvalues_is_that_of_the_array(self, store, tmp_path, measured):
        used = [0, 2, 3, 6, 8, 9]
        done = fit_file(FitJob(store, "nlls", tmp_path / "out", bvalues=TEN[used], maps=False))
        with EstimateStore(done.store) as found:
            np.testing.assert_array_equal(found.bvalues, TEN[used])
            same(found.read(), ivimsc.fit_signals(measured[:, used], TEN[used]))

    def test_outcomes_are_counted_and_mostly_bad_is_said(self, tmp_path, measured):
        signals = measured.copy()
        signals[:31] = np.nan
        for n, mostly in ((31, True), (30, False)):
            signals[n - 1] = measured[n - 1] if n == 30 else np.nan
            signals[30] = np.nan if n == 31 else measured[30]
            write_voxels(tmp_path / "b.h5", as_voxels(signals, TEN), force=True)
            done = fit_file(FitJob(tmp_path / "b.h5", "segmented", tmp_path / "out", maps=False, force=True))
            assert done.outcomes[Outcome.BAD_SIGNAL] == np.sum(np.isnan(signals[:, 0])) and done.voxels == 60
            assert done.mostly_bad == mostly

    def test_background_that_is_all_zero_is_not_held_against_a_fit(self, tmp_path, measured):
        signals = measured.copy()
        signals[:50] = 0
        write_voxels(tmp_path / "b.h5", as_voxels(signals, TEN))
        done = fit_file(FitJob(tmp_path / "b.h5", "nlls", tmp_path / "out", maps=False))
        assert done.outcomes[Outcome.BAD_SIGNAL] == done.blank == 50 and not done.mostly_bad

    def test_a_long_store_is_streamed(self, tmp_path, measured):
        """Python's own allocations stay near those of one chunk (2 MiB of signals and results), not of the store."""
        write_voxels(tmp_path / "long.h5", as_voxels(np.tile(measured, (6000, 1)), TEN))  # 14 MB of signals
        fit_file(FitJob(tmp_path / "long.h5", "segmented", tmp_path / "first", maps=False, chunk=4096))
        tracemalloc.start()
        fit_file(FitJob(tmp_path / "long.h5", "segmented", tmp_path / "out", maps=False, chunk=4096))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # what counting reads at once (2^18 voxels × 33 bytes) is the largest piece: 9 MB; the store has 26 MB
        assert peak < 20e6
