"""Phantoms under other models: what is added, and that it depends on the voxel alone."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.phantoms import make_phantom
from ivimsc.phantoms.beyond import with_model
from ivimsc.physics.models import MODELS, mixture_signals
from ivimsc.simulate import simulate_phantom


@pytest.mark.parametrize("model", ["mono", "kurtosis", "triexp", "mixture"])
def test_a_voxel_depends_on_its_number_alone(model):
    phantom = with_model(make_phantom("uniform", 3, voxels=500), model, 3)
    whole, part = phantom.read(0, 500), phantom.read(123, 200)
    for key, values in whole.truth.items():
        np.testing.assert_array_equal(part.truth[key], values[123:200], err_msg=key)
    np.testing.assert_array_equal(part.tissue, whole.tissue[123:200])


def test_the_truth_has_the_keys_of_its_model_and_the_signals_are_those_of_it():
    for model in ("mono", "kurtosis", "triexp"):
        v = simulate_phantom("uniform", noise="none", voxels=200, model=model)
        assert tuple(v.truth) == MODELS[model].keys and v.attrs["model"] == model
        np.testing.assert_allclose(v.signals, MODELS[model].signals(v.truth, v.bvalues), rtol=1e-6)
    assert "model" not in simulate_phantom("uniform", noise="none", voxels=10).attrs


def test_a_mixture_has_a_quarter_of_each_model_and_says_which():
    v = simulate_phantom("uniform", noise="none", voxels=4000, model="mixture", seed=1)
    assert list(v.tissue_names.values()) == list(MODELS)
    assert np.all(np.abs(np.bincount(v.tissue)[1:] / 4000 - 0.25) < 0.03)  # 4 SD
    np.testing.assert_allclose(v.signals, mixture_signals(v.truth, v.bvalues), rtol=1e-6)
    of = dict(zip(MODELS, range(1, 5), strict=True))
    assert np.all(v.truth["f"][v.tissue == of["mono"]] == 0) and np.all(v.truth["k"][v.tissue != of["kurtosis"]] == 0)


def test_an_unknown_model_is_told_in_one_line():
    with pytest.raises(InputError, match="model: found 'quad', expected one of mono, biexp, kurtosis, triexp, mixture"):
        simulate_phantom("uniform", voxels=10, model="quad")
