"""The scale of an experiment."""

import pytest

from ivimsc.errors import InputError
from ivimsc.paper.runs import Runs
from ivimsc.paper.setting import Setting


def test_scales_of_the_cohort(tmp_path):
    assert Setting(tmp_path).shape(9) is None
    for scale in (0.02, 0.05, 0.3):
        x, y, z = Setting(tmp_path, scale=scale).shape(9)
        assert x * y * z / 9 == pytest.approx(scale * 160 * 64 * 15, rel=0.1)
    truth = Runs(Setting(tmp_path, scale=0.02, threads=1), lambda _: None).truth("cohort-test")
    assert len(truth) == pytest.approx(0.02 * 248_059, rel=0.1)


def test_a_small_scale_has_short_epochs(tmp_path):
    assert Setting(tmp_path).schedule() == {}
    assert Setting(tmp_path, scale=0.02).schedule() == {"epoch_voxels": 20_000}
    assert Setting(tmp_path, scale=0.5).schedule() == {"epoch_voxels": 145_807}


@pytest.mark.parametrize("words", [{"scale": 0.01}, {"scale": 1.1}, {"seeds": 0}, {"seeds": 21}])
def test_what_makes_no_sense_is_refused(tmp_path, words):
    with pytest.raises(InputError, match=f"{next(iter(words))}: found"):
        Setting(tmp_path, **words)
