"""What is common to fits of arrays and of files: the noise level, misfits, notes and warnings."""

import warnings

import numpy as np
import pytest
from scipy.stats import chi2

import ivimsc
from ivimsc.device.launch import Launch
from ivimsc.fit import FitJob, fit_file
from ivimsc.fit.noise import has_signal, measure_noise
from ivimsc.outcome import Outcome
from ivimsc.store import EstimateStore, write_voxels
from tests.conftest import FIVE, TEN, as_voxels, equation1, phantom

LAUNCH = Launch("cpu", 2)
LONG = np.r_[TEN, 800.0, 1000.0]


def kurtosis_phantom(n=6000, sigma=0.025, seed=0):
    """30 % of the voxels with a kurtosis of 1.2, 5 % with ten times the noise: what the model does not explain."""
    random = np.random.default_rng(seed)
    f, D, Dstar = random.uniform(0.05, 0.3, n), random.uniform(0.8e-3, 2e-3, n), random.uniform(15e-3, 80e-3, n)
    bD = LONG * D[:, None]
    tissue = np.exp(-bD + np.where(random.random(n) < 0.3, 1.2, 0)[:, None] * bD**2 / 6)
    y = (
        (1 - f[:, None]) * tissue
        + f[:, None] * np.exp(-LONG * Dstar[:, None])
        + random.normal(0, sigma, (n, len(LONG)))
    )
    wild = random.random(n) < 0.05
    y[wild] += random.normal(0, 10 * sigma, y[wild].shape)
    return y, wild, sigma


class TestNoiseLevel:
    def test_voxels_that_the_model_fails_do_not_move_it(self):
        y, _, sigma = kurtosis_phantom()
        assert measure_noise(as_voxels(y, LONG), LAUNCH).sigma == pytest.approx(sigma, rel=0.05)

    def test_the_background_does_not_tell_it(self):
        """Half of the volume is Rician background, whose residuals are smaller: without a mask the level is the same."""
        y, _, sigma = kurtosis_phantom()
        random = np.random.default_rng(1)
        air = np.hypot(*random.normal(0, sigma, (2, *y.shape)))
        both = np.concatenate([y, air])[random.permutation(2 * len(y))]
        assert measure_noise(as_voxels(both, LONG), LAUNCH).sigma == pytest.approx(sigma, rel=0.05)

    @pytest.mark.parametrize("kind", ["two exponentials", "one"])
    @pytest.mark.parametrize(("b", "snr", "rel"), [(TEN, 30, 0.02), (TEN, 100, 0.02), (np.r_[0, FIVE], 30, 0.04)])
    def test_it_is_that_of_the_simulation_whatever_the_tissue(self, kind, b, snr, rel):
        """Tissue without blood leaves more degrees of freedom than four parameters do, and is counted with them."""
        p = phantom(4000, b)
        random = np.random.default_rng(2)
        y = equation1(300, p.f if kind != "one" else 0, p.D, p.Dstar, b) + random.normal(0, 300 / snr, (4000, len(b)))
        level = measure_noise(as_voxels(y, b), LAUNCH)
        assert level.sigma == pytest.approx(300 / snr, rel=rel)
        assert level.snr == pytest.approx(snr, rel=0.06)
        assert level.voxels > 3500

    def test_all_voxels_have_signal_where_there_is_no_background(self):
        y = np.concatenate([np.full((100, 10), 50.0), np.full((100, 10), 200.0)])
        assert has_signal(y).all()
        y[:100] = 5.0
        assert has_signal(y).tolist() == [False] * 100 + [True] * 100


class TestMisfits:
    def test_one_voxel_in_ten_thousand_by_noise_alone(self):
        """At most: least squares takes degrees of freedom, and the rule counts none of them as lost."""
        p, n = phantom(20_000), 20_000
        y = p.signals + np.random.default_rng(3).normal(0, 0.02, (n, 10))
        assert np.sum(ivimsc.fit_signals(y, TEN).outcome == Outcome.MISFIT) <= 5  # 2 expected, Poisson

    def test_what_the_model_does_not_explain_is_told(self):
        y, wild, sigma = kurtosis_phantom()
        e = ivimsc.fit_signals(y, LONG)
        assert np.mean(e.outcome[wild] == Outcome.MISFIT) > 0.95
        beyond = e.rmse.astype(float) ** 2 * len(LONG) / sigma**2 > 1.1 * chi2.isf(1e-4, len(LONG))
        assert set(e.outcome[beyond].tolist()) == {Outcome.MISFIT}

    def test_a_given_sigma_is_taken(self):
        y = phantom(50).signals + np.random.default_rng(4).normal(0, 0.02, (50, 10))
        assert np.all(ivimsc.fit_signals(y, TEN, sigma=0.002).outcome == Outcome.MISFIT)
        assert not np.any(ivimsc.fit_signals(y, TEN, sigma=0.02).outcome == Outcome.MISFIT)

    def test_means_of_many_images_are_judged_by_their_own_noise(self):
        """One image at b = 0 and 2 to 30 elsewhere: the level is that of one image, and noise alone makes no misfit."""
        images = np.array([1, 2, 2, 3, 3, 6, 6, 10, 15, 30])
        b, p = np.repeat(TEN, images), phantom(8000)
        y = np.repeat(p.signals, images, axis=1) + np.random.default_rng(6).normal(0, 0.04, (8000, len(b)))
        e = ivimsc.fit_signals(y, b)
        (note,) = [note for note in e.notes if note.startswith("noise level")]
        assert float(note.split("SD ")[1].split(" ")[0]) == pytest.approx(0.04, rel=0.03)
        assert np.sum(e.outcome == Outcome.MISFIT) <= 6  # 0.8 expected; the approximation is good to a factor of some
        y[:100, 20] += 2.0
        assert np.mean(ivimsc.fit_signals(y, b).outcome[:100] == Outcome.MISFIT) > 0.9

    def test_few_voxels_are_not_judged(self):
        y = phantom(20).signals.copy()
        y[3, 4] += 0.5
        assert Outcome.MISFIT not in ivimsc.fit_signals(y, TEN).outcome


class TestNotes:
    def test_estimates_and_stores_keep_what_was_chosen(self, tmp_path):
        y = phantom(200, snr=30).signals
        e = ivimsc.fit_signals(y, TEN)
        assert any(note.startswith("noise level: SD 0.03") for note in e.notes)
        assert "S0: fitted" in e.notes
        write_voxels(tmp_path / "v.h5", as_voxels(y, TEN))
        done = fit_file(FitJob(tmp_path / "v.h5", "nlls", tmp_path, maps=False))
        with EstimateStore(done.store) as store:
            assert list(e.notes) == store.notes == done.notes

    def test_warnings_are_raised_in_python(self):
        """Without b = 0 the data hardly tell S0, f and D* apart: what the command line prints, Python warns of."""
        y = phantom(300, FIVE, 30).signals
        with pytest.warns(UserWarning, match="without b = 0"):
            ivimsc.fit_signals(y, FIVE, "bayes")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ivimsc.fit_signals(y, FIVE, "nlls")
