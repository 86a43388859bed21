"""Estimates: their fields under the names of files, and in another shape."""

import numpy as np

from ivimsc.estimates import FIELDS, Estimates

ABOUT = {"spectrum", "notes", "method", "bvalues", "options"}  # of the fit, not of its voxels
VALUES = {field.code: np.arange(6) + 10 * k for k, field in enumerate(FIELDS[:8])}


def test_items_are_the_fields_that_are_there_under_their_file_keys():
    found = dict(Estimates(**VALUES).items())
    assert list(found) == ["s0", "f", "d", "dstar", "rmse", "outcome", "fstd", "dstd"]
    for field in FIELDS[:8]:
        np.testing.assert_array_equal(found[field.key], VALUES[field.code])


def test_reshaping_keeps_every_value():
    found = Estimates(**VALUES).reshape((2, 3))
    for code, values in VALUES.items():
        np.testing.assert_array_equal(getattr(found, code), values.reshape(2, 3))
    assert found.dstarstd is None


def test_every_field_has_a_place_in_the_table():
    """What is not in the table is neither stored nor drawn."""
    assert {field.code for field in FIELDS} == set(Estimates.__dataclass_fields__) - ABOUT
    assert len({field.key for field in FIELDS}) == len(FIELDS)
