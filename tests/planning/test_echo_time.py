"""Echo times: Stejskal and Tanner's formula, and the signal that a shorter echo time is worth."""

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.planning.echo_time import GAP, EchoTime
from ivimsc.planning.judge import sigma_of
from ivimsc.planning.posterior import noise_of
from tests.planning.makers import ask, counts_of


@pytest.mark.parametrize(("b", "gradient"), [(50, 30), (800, 40), (1500, 80)])
def test_the_gradients_make_this_b_value(b, gradient):
    encoding = EchoTime(80, gradient, 60, 1500).encoding(b)
    delta = (encoding - GAP) / 2 * 1e-3
    gamma = 2 * np.pi * 42.577478518e6  # rad/s/T
    made = (gamma * gradient * 1e-3 * delta) ** 2 * (delta + GAP * 1e-3 - delta / 3) * 1e-6
    assert made == pytest.approx(b, rel=1e-6)


def test_a_smaller_largest_b_value_shortens_the_echo_and_gains_signal():
    request = ask(te=70.0, gradient=40.0, t2=50.0)
    echo = request.echo_time
    assert echo.at(800) == 70 and echo.gain(800) == 1
    shorter = echo.at(400)
    assert shorter == pytest.approx(70 - echo.encoding(800) + echo.encoding(400)) and shorter < 65
    assert echo.gain(400) == pytest.approx(np.exp((70 - shorter) / 50))
    b = request.candidates
    sigma = noise_of(request, b, np.stack([counts_of(b, [0, 100, 800]), counts_of(b, [0, 100, 400])]))
    np.testing.assert_allclose(sigma * request.snr, [1, 1 / echo.gain(400)])
    assert sigma_of(request, (0.0, 100.0, 400.0)) == pytest.approx(sigma[1] * np.sqrt(3 / 6))


@pytest.mark.parametrize(("settings", "says"), [
    ({"te": 70.0}, "gradient: found none with te, expected te, gradient and t2 together"),
    ({"te": 70.0, "gradient": 40.0}, "t2: found none with te, gradient, expected te, gradient and t2 together"),
    ({"t2": 50.0}, "t2: found 50 without te and gradient, expected all three or none"),
    ({"te": 30.0, "gradient": 40.0, "t2": 50.0}, "te: found 30 ms, expected more than"),
    ({"te": 70.0, "gradient": 0.0, "t2": 50.0}, "gradient: found 0, expected a number above 0"),
])  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(settings, says):
    with pytest.raises(InputError) as error:
        ask(**settings)
    assert str(error.value).startswith(says) and "\n" not in str(error.value)
