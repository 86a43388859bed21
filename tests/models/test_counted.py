"""Learned methods on b-values that are means of different numbers of images."""

import numpy as np

from ivimsc.device.launch import choose_device
from ivimsc.methods import Inputs, load_method, make_options
from ivimsc.models import Model
from ivimsc.outcome import Outcome
from ivimsc.voxels import SelectedVoxels, Voxels
from tests.conftest import FIVE, equation1

SIX = np.r_[0.0, FIVE]


def fitter(voxels, **options):
    """mlp without hidden layers, which answers f 0.2, D 1, D* 30 µm²/ms whatever the signal."""
    layers = {"weight0": np.zeros((3, 5), np.float32), "bias0": np.array([0.2, 1.0, 30.0], np.float32)}
    model = Model("mlp", layers, {"bvalues": list(FIVE), "options": {}, "s0": "known"})
    module = load_method("mlp")
    return module.prepare(voxels, make_options(module, options), choose_device("cpu", 1), Inputs({"model": model}))


def voxels_of(images, noise=0.02, n=50):
    y = equation1(np.ones(n), 0.2, 1e-3, 30e-3, SIX) + np.random.default_rng(0).normal(0, noise, (n, 6)) / np.sqrt(
        images
    )
    y[:, 0] = 1
    return Voxels(y.astype(np.float32), SIX, repeats=np.array(images))


def test_a_note_says_that_the_model_takes_all_alike():
    uneven, even = voxels_of([60, 1, 2, 1, 1, 6]), voxels_of([60, 2, 2, 2, 2, 2])
    (note,) = [note for note in fitter(uneven).notes if "images" in note]
    assert note.startswith("b-values are means of 1 to 6 images; the model")
    assert not [note for note in fitter(even).notes if "images" in note]


def test_residuals_and_evidence_count_every_image():
    images = np.array([60, 1, 2, 1, 1, 6])
    voxels = voxels_of(images)
    made = fitter(voxels)
    e = made.fit(voxels.signals)
    rest = equation1(1.0, 0.2, 1e-3, 30e-3, FIVE) - voxels.signals[:, 1:]
    np.testing.assert_allclose(e.rmse, np.sqrt(np.mean(rest**2, axis=1)), rtol=1e-4)  # float32
    np.testing.assert_allclose(e.spread, np.sqrt(np.mean(images[1:] * rest**2, axis=1)), rtol=1e-4)
    np.testing.assert_allclose(made.evidence.root**2, images)
    chosen = SelectedVoxels(voxels, FIVE)  # b = 0 comes beside the signals, and is 60 images as before
    np.testing.assert_allclose(fitter(chosen).evidence.root ** 2, images)


def test_a_given_noise_decides_on_outcome_4():
    voxels = voxels_of([1, 1, 1, 1, 1, 1])
    quiet, loud = (fitter(voxels, sigma=sigma).fit(voxels.signals) for sigma in (0.002, 0.5))
    assert set(quiet.outcome.tolist()) == {Outcome.CONVERGED}
    assert set(loud.outcome.tolist()) == {Outcome.DSTAR_UNIDENTIFIABLE}
