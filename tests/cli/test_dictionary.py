"""``ivimsc dictionary``: the dictionary of a model, in a file and in a picture."""

import numpy as np

from ivimsc.dictionaries import learned_dictionary
from ivimsc.models import write_model
from ivimsc.store.dictionaries import read_dictionary
from tests.test_dictionaries import model


def test_the_unit_that_is_asked_for_is_written(ivimsc, tmp_path):
    path = write_model(tmp_path / "m.safetensors", model())
    words = ["dictionary", path, "--out", tmp_path / "d.h5", "--unit", 3, "--figure", tmp_path / "d.png"]
    assert ivimsc(*words) == 0
    np.testing.assert_array_equal(read_dictionary(tmp_path / "d.h5").matrix, learned_dictionary(model(), 3).matrix)
    assert (tmp_path / "d.png").read_bytes()[:4] == b"\x89PNG"
    assert "unit 3" in ivimsc.out and "coherence" in ivimsc.out
    assert ivimsc(*words) == 2
    assert "d.png" in ivimsc.error and "force" in ivimsc.error
