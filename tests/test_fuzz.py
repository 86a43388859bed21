"""A few damaged and hostile files for every parser: one line or a right answer. By hand more: python tests/fuzz.py."""

import pytest

from tests.fuzz import failures
from tests.fuzzing.files import KINDS


@pytest.mark.parametrize("parser", sorted(KINDS))
def test_damaged_files_are_told_in_one_line(parser):
    assert failures(parser, 40, seed=0) == []
