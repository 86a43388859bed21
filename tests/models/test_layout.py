"""Models from strangers: whatever their arrays and metadata say of themselves, the kernels see none that do not fit."""

import json

import numpy as np
import pytest
from safetensors.numpy import save

from ivimsc.errors import InputError
from ivimsc.fitter import Inputs
from ivimsc.methods import load_method
from ivimsc.models import read_model, write_model
from ivimsc.models.estimates import require_model
from ivimsc.models.reading import MOST_BYTES
from tests.fuzzing.files import models

MODELS = models()
LAYOUTS = {name: load_method(model.method).layout_of for name, model in MODELS.items()}


def judged(name, arrays):
    model = MODELS[name]
    changed = type(model)(model.method, arrays, model.about)
    require_model(Inputs({"model": changed}), model.method, LAYOUTS[name])
    if model.method == "scdnn":
        load_method("scdnn").require_whole(changed)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_good_models_are_taken_and_every_cut_array_is_refused(name):
    whole = MODELS[name].arrays
    judged(name, whole)
    for key, array in whole.items():
        if key == "unit":  # of training alone
            continue
        changes = [array[:-1], np.concatenate([array, array]), array[None], array[..., :-1], array[:0], array.reshape(-1)[:1].reshape(())]  # fmt: skip
        for changed in changes:
            if changed.shape == array.shape:
                continue
            lone = len({k for k, a in whole.items() if a.ndim and array.shape[0] in a.shape}) == 1
            if lone and changed.ndim == array.ndim and len(changed):  # a length of its own, as that of hidden units
                continue
            with pytest.raises(InputError, match="found"):
                judged(name, {**whole, key: changed})
        with pytest.raises(InputError, match=f"found no {key}|expected"):
            judged(name, {k: a for k, a in whole.items() if k != key})


def test_the_rows_that_once_ran_past_the_heap():
    """phi with more inputs than w: the kernel wrote a residual for each."""
    arrays = dict(MODELS["factored"].arrays)
    arrays["phi"] = np.zeros((3, 30, 8), np.float32)
    with pytest.raises(InputError, match=r"found weights for 30 b-values, expected 4"):
        judged("factored", arrays)
    arrays = dict(MODELS["general"].arrays)
    arrays["phi"] = np.zeros((5, 30, 256), np.float32)
    with pytest.raises(InputError, match=r"found phi of shape \(5, 30, 256\), expected \(unit 5, rank 8, atom 256\)"):
        judged("general", arrays)


@pytest.mark.parametrize(("change", "says"), [
    ({"bvalues": [0, "a"]}, "bvalues"), ({"bvalues": [50, 10]}, "ascending"), ({"bvalues": [[1]]}, "bvalues"),
    ({"bvalues": [0, float("nan")]}, "bvalues"), ({"s0": 7}, "s0"), ({"range": []}, "range"), ({"range": {"f": [1, 0]}}, "range f"),
    ({"range": {"low": [0]}}, "range low"), ({"history": {"validation": "x"}}, "history"), ({"training": 1}, "training"),
])  # fmt: skip
def test_metadata_of_another_kind(tmp_path, change, says):
    model = MODELS["mlp"]
    path = write_model(tmp_path / "m.safetensors", type(model)(model.method, model.arrays, {**model.about, **change}))
    with pytest.raises(InputError, match=says):
        read_model(path)


def test_a_changed_bit_is_seen(tmp_path):
    path = write_model(tmp_path / "m.safetensors", MODELS["mlp"])
    assert read_model(path).has_checksum
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="does not agree with its checksum"):
        read_model(path)


def test_models_without_a_checksum_are_told_of(tmp_path):
    model = MODELS["mlp"]
    text = json.dumps({"format": "ivimsc-model", "format_version": 1, "method": "mlp", **model.about})
    (tmp_path / "m.safetensors").write_bytes(save(model.arrays, {"ivimsc": text}))
    assert "no checksum" in read_model(tmp_path / "m.safetensors").card()[-1]


def test_other_types_and_sizes_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"a": np.zeros(3, np.int32)}, {"ivimsc": "{}"}))
    with pytest.raises(InputError, match="another type than float32"):
        read_model(path)
    with open(path, "wb") as file:
        file.truncate(MOST_BYTES + 1)  # sparse: it takes no room on the disk
    with pytest.raises(InputError, match="expected a model file of at most"):
        read_model(path)
