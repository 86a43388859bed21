"""Dictionary files: what is written is read back, and what is broken is told in one line."""

import h5py
import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.physics.dictionary import Dictionary, make_dictionary
from ivimsc.store.dictionaries import read_dictionary, write_dictionary
from tests.conftest import TEN


def fixed(n):
    return make_dictionary(TEN, "log", n, (1e-5, 5e-3), (5e-3, 0.2))


@pytest.mark.parametrize("learned", [False, True])
def test_a_file_gives_the_dictionary_back(tmp_path, learned):
    d = fixed((5, 6))
    if learned:
        d = Dictionary(d.bvalues, d.D, d.Dstar, "scdnn-1", d.matrix * 1.01)
    write_dictionary(tmp_path / "d.h5", d)
    back = read_dictionary(tmp_path / "d.h5")
    for name in ("bvalues", "D", "Dstar", "matrix"):
        np.testing.assert_array_equal(getattr(back, name), getattr(d, name))
    assert back.origin == d.origin


def test_truncated_and_foreign_files_are_refused_in_one_line(tmp_path):
    whole = tmp_path / "d.h5"
    write_dictionary(whole, fixed((50, 60)))
    (tmp_path / "cut.h5").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "text.h5").write_text("atoms")
    for name in ("cut.h5", "text.h5", "absent.h5"):
        with pytest.raises(InputError, match=name) as caught:
            read_dictionary(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_atoms_that_do_not_fit_the_grids_are_refused(tmp_path):
    write_dictionary(tmp_path / "d.h5", fixed((5, 6)))
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file["atoms"] = np.ones((10, 4))
    with pytest.raises(InputError, match=r"d\.h5: dictionary: found a matrix of shape \(10, 4\)"):
        read_dictionary(tmp_path / "d.h5")
