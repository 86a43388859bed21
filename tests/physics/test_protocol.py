"""b-values at the door: grouping into shells, averaging, and one line for everything that is wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivimsc.errors import InputError
from ivimsc.physics.bvalue_text import read_bval
from ivimsc.physics.protocol import Protocol, require_distinct, select_bvalues
from ivimsc.physics.volume_notes import missing_note, odd_volume_notes

DATA = Path(__file__).parents[2].parent / "shared" / "data"
volumes = st.lists(st.floats(0, 3000), min_size=1, max_size=40).map(
    lambda values: [*values, 700.0]
)  # some b of a scanner


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([48, 50, 52], [50]),
        ([995, 1000, 1005], [1000]),
        ([0, 1, 2, 5, 10], [0, 1, 2, 5, 10]),
        ([1000, 0, 1005, 0, 50], [0, 50, 1002.5]),
        ([100, 105, 110, 115], [105, 115]),  # a chain ends at twice the tolerance: 100 to 110
        ([0.1, 0.1, 0.1, 50], [0.1, 50]),  # the mean of equal values is that value, to the last bit
        ([-0.0, 0], [0]),
        ([985, 990, 1000, 1010, 1015], [1000]),  # imaging gradients change b by direction
        ([985, 1015], [1000]),
        ([1485, 1490, 1500, 1515, 1985, 2000, 2030], [1497.5, 2005]),
        ([10, 20, 30], [10, 20, 30]),  # protocols of small steps
        ([180, 190, 200], [180, 190, 200]),
        ([900, 1000, 1100], [900, 1000, 1100]),
    ],
)
def test_shells(values: list, expected: list) -> None:
    protocol = Protocol.from_volumes(values)
    np.testing.assert_array_equal(protocol.bvalues, expected)
    assert not np.signbit(protocol.bvalues).any()


@given(volumes, st.randoms(use_true_random=False))
def test_order_of_volumes_does_not_matter(values: list, random) -> None:
    shuffled = values.copy()
    random.shuffle(shuffled)
    one, two = Protocol.from_volumes(values), Protocol.from_volumes(shuffled)
    np.testing.assert_array_equal(one.bvalues, two.bvalues)
    np.testing.assert_array_equal(one.repeats, two.repeats)
    assert one.notes == two.notes


@given(volumes)
def test_every_volume_lies_in_a_narrow_shell(values: list) -> None:
    protocol = Protocol.from_volumes(values)
    assert (np.diff(protocol.bvalues) > 0).all()
    assert protocol.repeats.sum() == len(values)
    np.testing.assert_array_equal(np.bincount(protocol.shell), protocol.repeats)
    for b, value in zip(protocol.bvalues[protocol.shell], values, strict=True):
        # a shell spans at most 10 % up to 10 s/mm², or 6 %, of its highest value: no member is farther from the mean
        assert abs(value - b) <= max(min(10.0, 0.1 * max(value, b) / 0.9), 0.06 * max(value, b) / 0.94)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(6)), elements=st.floats(-1e6, 1e6, width=32)))
def test_average_is_the_mean_of_each_shell(signals: np.ndarray) -> None:
    protocol = Protocol.from_volumes([50, 0, 800, 50, 50, 0])
    averaged = protocol.average(signals)
    expected = [signals[:, at].astype(float).mean(1) for at in ([1, 5], [0, 3, 4], [2])]
    assert averaged.dtype == np.float32
    # float64 sums rounded once to float32: half a unit in the last place, 6e-8 relative
    np.testing.assert_allclose(averaged, np.stack(expected, 1), rtol=6e-8, atol=1e-6)


def test_average_is_over_the_finite_volumes() -> None:
    protocol = Protocol.from_volumes([0, 0, 50, 0])
    nan, inf = np.nan, np.inf
    signals = np.array([[1, nan, 3, 5], [nan, nan, 5, nan], [inf, 1, nan, 3], [1, 2, inf, 3], [1, 3, 5, 5]])
    averaged, missing = protocol.average_and_count(signals)
    np.testing.assert_array_equal(averaged, [[3, 3], [nan, 5], [2, nan], [2, inf], [3, 5]])
    assert missing == 4
    np.testing.assert_array_equal(protocol.average(signals.reshape(5, 1, 4)), averaged[:, None])
    with pytest.raises(InputError, match="expected 4"):
        protocol.average(np.ones((4, 2)))


def test_a_mean_beyond_float32_is_not_missing() -> None:
    averaged, missing = Protocol.from_volumes([0, 0, 50]).average_and_count(np.array([[1e300, 1, 1]]))
    np.testing.assert_array_equal(averaged, [[np.inf, 1]])
    assert missing == 0


def test_missing_volumes_are_told_where_there_are_others() -> None:
    repeats, single = Protocol.from_volumes([0, 0, 50]), Protocol.from_volumes([0, 50])
    assert missing_note(0, repeats) == missing_note(5, single) == []
    assert "1 voxel has volumes" in missing_note(1, repeats)[0]
    assert "1,200 voxels have" in missing_note(1200, repeats)[0]


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([5, 10, 20], "5 s/mm², counts as b0"),
        ([20, 50, 150], "no b0: the smallest b-value is 20"),
        ([0, 0, 50], "3 volumes averaged to 2 b-values [s/mm²]: 0 (×2), 50"),
        ([0, 995, 1000, 1005], "b-values 995 to 1005 s/mm² taken as one of 1000"),
        (
            [0, *range(950, 1051, 10)],
            "b-values 950 to 1050 s/mm² follow closely, but are too many for one: taken as 980 and",
        ),
    ],
)
def test_notes(values: list, note: str) -> None:
    assert note in " | ".join(Protocol.from_volumes(values).notes)


def test_no_note_without_need() -> None:
    assert Protocol.from_volumes([0, 50, 800]).notes == ()


@pytest.mark.parametrize(
    ("values", "found"),
    [([], "no b-value"), ([0, -50], "-50 at position 2 of 2"), ([np.nan], "nan"), ([np.inf, 1], "inf"), (["x"], "'x'")],
)
def test_bad_values(values: list, found: str) -> None:
    with pytest.raises(InputError, match=r"^my\.bval: found ") as error:
        Protocol.from_volumes(values, "my.bval")
    assert found in str(error.value) and "expected" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([0, 0.05, 0.8], "in ms/µm²: times 1000"),
        ([0, 9.99], "in ms/µm²: times 1000"),
        ([0, 8e8], "in s/m²: divided by 1e6"),
        ([0, 100_001], "in s/m²: divided by 1e6"),
    ],
)
def test_bvalues_that_no_scanner_makes(values: list, unit: str) -> None:
    with pytest.raises(InputError, match=r"^my\.bval: found .* as the largest b-value, expected 10 to 100000") as error:
        Protocol.from_volumes(values, "my.bval")
    assert unit in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("values", [[0, 10], [0, 1e5], [0, 0]])
def test_bvalues_at_the_ends_of_what_scanners_make(values: list) -> None:
    assert Protocol.from_volumes(values).bvalues[-1] == values[-1]


def test_select_bvalues() -> None:
    available = np.array([0, 20, 50, 1000.4])
    np.testing.assert_array_equal(select_bvalues(available, [1000, 0, 20]), [0, 1, 3])
    with pytest.raises(InputError, match="found 30, expected some of 0, 20, 50, 1000.4"):
        select_bvalues(available, [20, 30])
    np.testing.assert_array_equal(select_bvalues(available, [975]), [3])  # as far as a shell reaches: 3 %
    with pytest.raises(InputError, match="found 960, expected"):
        select_bvalues(available, [960])
    with pytest.raises(InputError, match="twice"):
        select_bvalues(available, [20, 20])


def test_require_distinct() -> None:
    require_distinct(np.arange(4.0), 4, "nlls")
    with pytest.raises(InputError, match=r"nlls: found 3 distinct b-values \(0, 1, 2 s/mm²\), expected at least 4"):
        require_distinct(np.arange(3.0), 4, "nlls")


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not beside the project (../shared/data)")
def test_real_protocols() -> None:
    legs = Protocol.from_volumes(read_bval(DATA / "froeling_muscle_legs" / "dwi_all42.bval"))
    np.testing.assert_array_equal(legs.bvalues, [0, 1, 10, 25, 100, 200, 400, 600])
    assert legs.repeats.tolist() == [1, 6, 3, 3, 3, 6, 8, 12]
    cord = Protocol.from_volumes(read_bval(DATA / "levy_spinalcord_7T" / "dwi_AP_native.bval"))
    assert len(cord.bvalues) == 11 and "counts as b0" in cord.notes[0]
    abdomen = Protocol.from_volumes(read_bval(DATA / "wetscherek_abdomen_vol3" / "dwi_all300.bval"))
    np.testing.assert_array_equal(abdomen.bvalues, [0, 10, 25, 50, 100, 200, 300, 400, 500])
    assert abdomen.repeats[0] == 60


def test_a_volume_of_another_kind_is_told():
    """A map appended as one more b = 0 has a thousandth of the signal; noise and directions keep within a factor of three."""
    protocol = Protocol.from_volumes([0, 0, 0, 500, 500, 0, 1000])
    levels = np.array([1000, 950.0, 1020, 300, 700, 1.2, 150])
    (note,) = odd_volume_notes(levels, np.arange(7), protocol)
    assert note.startswith("warning: volume 5 of b = 0 s/mm² has 0.0012 times the signal")
    two = Protocol.from_volumes([0, 0, 500])
    (note,) = odd_volume_notes(np.array([1000, 1.2, 400]), np.array([4, 7, 9]), two)
    assert "volume 7 of b = 0" in note
