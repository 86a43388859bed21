"""bench/page.py: what rose or fell is told by speeds over the reference's, and the page has a row for every program."""

import platform

import pytest

from bench import page
from tests.docs.test_examples import DOCS


def run(**speeds):
    """A run of the benchmark: name -> voxels/s."""
    rows = {name.replace("_", " "): {"speed": speed, "rmse": [0.1, 0.2, 30.0]} for name, speed in speeds.items()}
    return {"rows": rows}


@pytest.mark.parametrize(("now", "told"), [
    ({"ivimsc_nlls": 50.0, "numpy_segmented": 5.0}, "the same"),  # a machine of half the speed
    ({"ivimsc_nlls": 109.0, "numpy_segmented": 10.0}, "the same"),  # the spread of runs
    ({"ivimsc_nlls": 200.0, "numpy_segmented": 10.0}, "rose, × 2.00"),
    ({"ivimsc_nlls": 100.0, "numpy_segmented": 20.0}, "fell, × 0.50"),
])  # fmt: skip
def test_speeds_are_compared_over_the_reference(now, told):
    before = run(ivimsc_nlls=100.0, numpy_segmented=10.0)
    assert page.change("ivimsc nlls", run(**now), before) == told
    assert page.change("numpy segmented", run(**now), before) == "the reference"
    assert page.change("ivimsc nlls", run(**now), {}) == "new"


def test_errors_that_moved_are_named():
    now, before = run(ivimsc_nlls=1.0), run(ivimsc_nlls=1.0)
    assert page.quality_change("ivimsc nlls", now, before) == "the same"
    now["rows"]["ivimsc nlls"]["rmse"] = [0.1, 0.1, 33.0]
    assert page.quality_change("ivimsc nlls", now, before) == "D fell, × 0.50, D* rose, × 1.10"


def test_the_page_has_every_program_and_no_name_of_a_machine():
    text = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    for program in page.PROGRAMS:
        assert f"| {program.name} |" in text or program.name in text.split("left out:")[1]
    assert platform.node() not in text
