"""The torch network of IVIM-NET: equation (1), its bounds, and what its file holds."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.methods.ivimnet.network import BOUNDS, IvimNet, biexponential
from ivimsc.methods.ivimnet.network import Options as IvimNetOptions
from tests.conftest import FIVE, equation1, phantom

# Kaandorp et al., Magn. Reson. Med. 86:2250 (2021), IVIM-NET-optim; D and D* in µm²/ms
PUBLISHED = {"S0": (0.7, 1.3), "f": (-0.05, 0.7), "D": (-0.1, 5.0), "Dstar": (-50.0, 300.0)}


def test_value_and_slope_are_those_of_equation_1():
    random = np.random.default_rng(0)
    p = np.stack(
        [
            random.uniform(0.5, 2, 50),
            random.uniform(0, 1, 50),
            random.uniform(0.1, 3, 50),
            random.uniform(5, 150, 50),
        ],
        axis=1,
    )
    tensor = torch.tensor(p, requires_grad=True)
    found = biexponential(tensor, torch.tensor(FIVE * 1e-3))
    expected = equation1(p[:, 0], p[:, 1], p[:, 2] * 1e-3, p[:, 3] * 1e-3, FIVE)
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=1e-12)
    assert torch.autograd.gradcheck(
        lambda q: biexponential(q, torch.tensor(FIVE * 1e-3)), (tensor[:3].detach().requires_grad_(),)
    )


def test_it_stays_within_its_bounds():
    net = IvimNet(FIVE, IvimNetOptions()).eval()
    out = net(100 * torch.randn(500, 5)).detach().numpy()
    for column, (low, high) in zip(out.T, BOUNDS, strict=True):
        assert low <= column.min() and column.max() <= high


@pytest.mark.parametrize("end", [0, 1])
def test_outputs_reach_the_published_bounds_in_their_order(end):
    net = IvimNet(FIVE, IvimNetOptions()).eval()
    with torch.no_grad():
        net.last.bias.fill_((-1e4, 1e4)[end])
    found = net(torch.tensor(phantom(3, FIVE).signals)).detach().numpy()
    np.testing.assert_allclose(found, np.tile([bounds[end] for bounds in PUBLISHED.values()], (3, 1)), rtol=1e-6)
    np.testing.assert_allclose(net.arrays()["bounds"].numpy()[:, end], found[0], rtol=1e-6)


def test_the_loss_is_the_misfit_of_the_signals():
    net, y = IvimNet(FIVE, IvimNetOptions()).eval(), phantom(20, FIVE, snr=30).signals
    S0, f, D, Dstar = net(torch.tensor(y)).detach().numpy().astype(float).T
    expected = np.mean((equation1(S0, f, D * 1e-3, Dstar * 1e-3, FIVE) - y) ** 2)
    assert net.loss(torch.tensor(y)).item() == pytest.approx(expected, rel=1e-5)


def test_its_file_folds_the_batch_normalisation():
    net, y = IvimNet(FIVE, IvimNetOptions()), torch.tensor(phantom(300, FIVE, snr=30).signals)
    for _ in range(5):
        net(y)  # moves the running means and variances away from 0 and 1
    net.eval()
    arrays = {name: array.numpy().astype(float) for name, array in net.arrays().items()}
    for k, (low, high) in enumerate(BOUNDS):
        x = y.numpy().astype(float)
        for i in range(3):
            x = x @ arrays[f"weight{i}"][k].T + arrays[f"bias{i}"][k]
            x = np.where(x > 0, x, np.expm1(np.minimum(x, 0))) if i < 2 else x
        expected = net(y)[:, k].detach().numpy()
        np.testing.assert_allclose(low + (high - low) / (1 + np.exp(-x[:, 0])), expected, rtol=1e-4, atol=1e-4)
