"""The training loop in numpy: its slopes against differences, and Adam against torch's."""

import numpy as np
import pytest

from ivimsc.adapting.layers import back, forward, new_layers
from ivimsc.adapting.loop import BETA1, BETA2, EPS, Adam, Sights
from ivimsc.errors import InputError, IvimscError


def test_slopes_of_layers_against_differences():
    random = np.random.default_rng(0)
    arrays = {name: a.astype(float) + 0.1 for name, a in new_layers((5, 7, 6, 2), random).items()}
    x, pull = random.normal(size=(20, 5)), random.normal(size=(20, 2))
    slopes = back(forward(x, arrays), pull, arrays)
    for name, array in arrays.items():
        for place in [tuple(random.integers(0, n) for n in array.shape) for _ in range(4)]:
            ends = []
            for step in (-1e-6, 1e-6):
                array[place] += step
                ends.append(float((forward(x, arrays)[-1] * pull).sum()))
                array[place] -= step
            assert slopes[name][place] == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-5, abs=1e-8)


def test_adam_is_that_of_torch():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(1)
    ours = {"a": random.normal(size=(4, 3)).astype(np.float32), "b": random.normal(size=5).astype(np.float32)}
    theirs = {name: torch.nn.Parameter(torch.tensor(a.copy())) for name, a in ours.items()}
    other = torch.optim.Adam(theirs.values(), lr=1e-2, betas=(BETA1, BETA2), eps=EPS)
    adam = Adam(ours)
    for step in range(30):
        slopes = {name: (random.normal(size=a.shape) * 10.0 ** (step % 5 - 4)).astype(np.float32) for name, a in ours.items()}  # fmt: skip
        for name, parameter in theirs.items():
            parameter.grad = torch.tensor(slopes[name].copy())
        other.step()
        adam.step({name: s.copy() for name, s in slopes.items()}, 1e-2)
    for name, a in ours.items():
        np.testing.assert_allclose(a, theirs[name].detach().numpy(), rtol=1e-5, atol=1e-6)  # float32, 30 steps


def test_large_slopes_are_cut_off_and_slopes_that_are_no_numbers_told():
    one, other = {"a": np.zeros(3, np.float32)}, {"a": np.zeros(3, np.float32)}
    for values, large in ((one, 1e6), (other, 10)):  # the first step of Adam is as long for any slope
        adam = Adam(values)
        adam.step({"a": np.float32([1, 0, 0])}, 0.1)
        adam.step({"a": np.float32([large, 0, 0])}, 0.1)
    np.testing.assert_array_equal(one["a"], other["a"])
    with pytest.raises(IvimscError, match="slopes that are no numbers"):
        Adam(one).step({"a": np.float32([np.nan, 0, 0])}, 0.1)


def test_the_rate_rises_and_decays_as_a_cosine():
    sights = Sights(sights=100_000, batch=100, rate=1e-3, rise=0.1)
    rates = np.array([sights.rate_at(step) for step in range(sights.steps)])
    assert len(rates) == 1000 and rates.argmax() in (99, 100) and rates.max() == pytest.approx(1e-3, rel=1e-4)
    part = (np.arange(1000) + 0.5) / 1000
    expected = 0.5e-3 * np.where(part < 0.1, 1 - np.cos(np.pi * part / 0.1), 1 + np.cos(np.pi * (part - 0.1) / 0.9))
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize(("settings", "says"), [({"sights": 0}, "sights"), ({"batch": 0}, "batch"), ({"rate": np.nan}, "rate"), ({"rise": 1.0}, "rise")])  # fmt: skip
def test_bad_settings(settings, says):
    with pytest.raises(InputError, match=f"option {says}: found"):
        Sights(**settings)
