"""Options from text and from typed values; what is wrong with one is told in one line."""

from dataclasses import dataclass

import pytest

from ivimsc.errors import InputError
from ivimsc.options import expect, expect_positive, option, typed_options


@dataclass(frozen=True)
class Sample:
    """One option of every kind."""

    name: str = option("a", "a word")
    count: int = option(3, "a whole number")
    sigma: float | None = option(None, "a number or none")
    bounds: tuple[float, float] = option((0.0, 1.0), "two numbers")
    keep: bool = option(False, "yes or no")
    level: float | str = option("estimate", "a number or a word")

    def __post_init__(self) -> None:
        expect_positive(self, ("sigma",), "sample")


def test_text_becomes_what_the_field_holds():
    texts = {"name": "b", "count": "7", "sigma": "2.5", "bounds": "0.25,4", "keep": "yes", "level": "0.5"}
    assert typed_options(Sample, texts, "sample") == Sample("b", 7, 2.5, (0.25, 4.0), True, 0.5)
    assert typed_options(Sample, {"sigma": "None", "level": "marginal"}, "sample") == Sample(level="marginal")


def test_typed_values_stay_as_they_are():
    assert typed_options(Sample, {"sigma": 3, "bounds": (1, 2)}, "sample") == Sample(sigma=3, bounds=(1, 2))


@pytest.mark.parametrize(("settings", "says"), [
    ({"nonsense": "1"}, "option of sample: found 'nonsense', expected one of name, count, sigma, bounds, keep, level"),
    ({"count": "1.5"}, "option count of sample: found '1.5', expected int"),
    ({"bounds": "1"}, "option bounds of sample: found '1', expected A,B"),
    ({"keep": "perhaps"}, "option keep of sample: found 'perhaps', expected bool"),
    ({"sigma": "x"}, "option sigma of sample: found 'x', expected float or none"),
    ({"sigma": 0.0}, "option sigma of sample: found 0, expected a number > 0 or none"),
    ({"sigma": float("inf")}, "option sigma of sample: found inf, expected a number > 0 or none"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(settings, says):
    with pytest.raises(InputError) as error:
        typed_options(Sample, settings, "sample")
    assert str(error.value) == says


def test_expect_lets_good_values_pass():
    expect(True, "x", "sample", 1, "anything")
    with pytest.raises(InputError, match="option x of sample: found 2, expected 1"):
        expect(False, "x", "sample", 2, "1")


def test_every_option_of_every_method_is_in_the_docs():
    """docs/options.md is what `ivimsc info --markdown` prints: run it where this fails."""
    from pathlib import Path

    from ivimsc.cli.info import options_page
    from ivimsc.methods import METHODS, load_method
    from ivimsc.options import list_options, typed_options

    page = (Path(__file__).resolve().parents[1] / "docs" / "options.md").read_text(encoding="utf-8")
    assert page == options_page()
    for name in METHODS:
        kind = load_method(name).Options
        for one in list_options(kind):
            assert one.help and f"| `{one.name}` |" in page
            assert typed_options(kind, {one.name: one.default}, name) == kind()  # the default that is told is taken
