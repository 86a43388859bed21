"""The torch network of scdnn: its gradients, its two forms, and its kernels against torch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.errors import InputError
from ivimsc.methods.scdnn import network as scdnn
from ivimsc.methods.scdnn.network import Scdnn
from tests.conftest import FIVE, phantom


def network(**options):
    return Scdnn(FIVE, scdnn.Options(**({"atoms": 60, "units": 3} | options)))


def test_gradients_are_those_of_finite_differences():
    net = network(atoms=12, threshold="soft", grids="learned").double()
    y = torch.tensor(phantom(6, FIVE, snr=30).signals.astype(np.float64))
    parameters = list(net.parameters())
    value = net(y).sum()
    value.backward()
    random = torch.Generator().manual_seed(0)
    for parameter in parameters:
        towards = torch.randn(
            parameter.shape, generator=random, dtype=torch.float64
        ) * parameter.detach().abs().mean().clamp_min(1e-4)
        pair = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * towards
                pair.append(float(net(y).sum()))
                parameter -= sign * 1e-6 * towards
        found = float((parameter.grad * towards).sum())
        assert abs(found - (pair[0] - pair[1]) / 2e-6) < 1e-4 * max(1, abs(found))


@pytest.mark.parametrize("threshold", ["soft", "hard"])
def test_the_free_form_starts_as_the_factored_one(threshold):
    y = torch.tensor(phantom(40, FIVE, snr=30).signals)
    factored = network(threshold=threshold, beta=0.01)
    free = network(threshold=threshold, beta=0.01, form="free")
    torch.testing.assert_close(free.code(y), factored.code(y), rtol=1e-3, atol=2e-6)


def test_kernels_and_torch_agree():
    net, y = network(beta=0.01), torch.tensor(phantom(100, FIVE, snr=30).signals)
    by_kernels = net(y)
    by_torch = net.double()(y.double())
    torch.testing.assert_close(by_kernels.double(), by_torch, rtol=2e-5, atol=1e-6)


def test_shared_units_share_their_slopes():
    net, y = network(shared=True), torch.tensor(phantom(64, FIVE, snr=30).signals)
    assert net.w.shape[0] == 2
    net(y).sum().backward()
    own = network()
    own(y).sum().backward()
    torch.testing.assert_close(net.w.grad[1], own.w.grad[1:].sum(0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("options", "says"), [
    ({"atoms": 7}, "even number"), ({"atoms": 2}, "even number"), ({"units": 0}, "at least 1"), ({"threshold": "x"}, "soft or hard"), ({"beta": -1.0}, ">= 0"),
])  # fmt: skip
def test_refused(options, says):
    with pytest.raises(InputError, match=says):
        scdnn.Options(**options)


@pytest.mark.parametrize("hard", [False, True])
def test_thresholds(hard):
    u = torch.tensor([-2.0, -0.5, 0.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    cut = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    found = scdnn.threshold(u, cut, hard)
    torch.testing.assert_close(found, torch.tensor([0, 0, 0, 0, 1 if hard else 0, 3 if hard else 2]).double())
    found.sum().backward()
    assert cut.grad == (-2 if hard else -1)  # a soft threshold has no slope at the cut itself
    negative = scdnn.threshold(u, torch.tensor(-1.0).double(), hard)
    torch.testing.assert_close(negative, torch.tensor([0, 0 if hard else 0.5, 0 if hard else 1, 0.5 if hard else 1.5, 1 if hard else 2, 3 if hard else 4]).double())  # fmt: skip


def test_sums_keep_the_parts_apart():
    x, grid = torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([10.0, 20, 30, 40])
    torch.testing.assert_close(scdnn.sums_of(x, grid, 1), torch.tensor([[1.0, 10, 9, 290]]))
