"""b-values at the door: grouping into shells, averaging, and one line for everything that is wrong."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ivimsc.errors import InputError
from ivimsc.physics.protocol import Protocol, parse_bvalues, read_bval, require_distinct, select_bvalues

DATA = Path(__file__).parents[2].parent / "shared" / "data"
volumes = st.lists(st.floats(0, 3000), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([48, 50, 52], [50]),
        ([995, 1000, 1005], [1000]),
        ([0, 1, 2, 5, 10], [0, 1, 2, 5, 10]),
        ([1000, 0, 1005, 0, 50], [0, 50, 1002.5]),
        ([100, 105, 110, 115], [105, 115]),  # a chain ends at twice the tolerance: 100 to 110
        ([0.1, 0.1, 0.1], [0.1]),  # the mean of equal values is that value, to the last bit
        ([-0.0, 0], [0]),
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
        # a shell spans at most 10 s/mm² and 10 % of its highest value, so no member is farther than that from the mean
        assert abs(value - b) <= min(10.0, 0.1 * max(value, b) / 0.9)


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 5), st.just(6)), elements=st.floats(-1e6, 1e6, width=32)))
def test_average_is_the_mean_of_each_shell(signals: np.ndarray) -> None:
    protocol = Protocol.from_volumes([50, 0, 800, 50, 50, 0])
    averaged = protocol.average(signals)
    expected = [signals[:, at].astype(float).mean(1) for at in ([1, 5], [0, 3, 4], [2])]
    assert averaged.dtype == np.float32
    # float64 sums rounded once to float32: half a unit in the last place, 6e-8 relative
    np.testing.assert_allclose(averaged, np.stack(expected, 1), rtol=6e-8, atol=1e-6)


def test_average_keeps_nan_and_checks_the_count() -> None:
    protocol = Protocol.from_volumes([0, 0, 50])
    averaged = protocol.average(np.array([[1, np.nan, 3], [1, 3, 5]], np.float64))
    np.testing.assert_array_equal(averaged, [[np.nan, 3], [2, 5]])
    with pytest.raises(InputError, match="expected 3"):
        protocol.average(np.ones((4, 2)))


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ([5, 10, 20], "5 s/mm², counts as b0"),
        ([20, 50, 150], "no b0: the smallest b-value is 20"),
        ([0, 0, 50], "3 volumes averaged to 2 b-values [s/mm²]: 0 (×2), 50"),
        ([0, 995, 1000, 1005], "b-values 995 to 1005 s/mm² taken as one of 1000"),
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
    "text", ["0 50 800", "0\n50\n800\n", "0 50\n800", "\ufeff0\t50  800 \r\n", "0.0 5e1 800.000", "  0 50 800\n\n"]
)
def test_read_bval(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.bval"
    path.write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(read_bval(path), [0, 50, 800])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no b-value"),
        (b" \n ", "no b-value"),
        (b"0 fifty 800", "'fifty' at position 2"),
        (b"0 nan 800", "nan at position 2 of 3"),
        (b"0 50 -800", "-800 at position 3 of 3"),
        (b"\x1f\x8b\x08\x00\xff\xfe", "binary data"),
        (None, "No such file"),
    ],
)
def test_read_bval_errors(tmp_path: Path, content: bytes | None, found: str) -> None:
    path = tmp_path / "a.bval"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_bval(path)
    message = str(error.value)
    assert str(path) in message and found in message and "expected" in message and "\n" not in message


def test_read_bval_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="directory"):
        read_bval(tmp_path)


def test_parse_bvalues() -> None:
    np.testing.assert_array_equal(parse_bvalues("20, 50,150"), [20, 50, 150])
    with pytest.raises(InputError, match="^bvalues: found 'x'"):
        parse_bvalues("20,x")


def test_select_bvalues() -> None:
    available = np.array([0, 20, 50, 1000.4])
    np.testing.assert_array_equal(select_bvalues(available, [1000, 0, 20]), [0, 1, 3])
    with pytest.raises(InputError, match="found 30, expected some of 0, 20, 50, 1000.4"):
        select_bvalues(available, [20, 30])
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
