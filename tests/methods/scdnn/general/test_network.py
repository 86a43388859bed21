"""The torch network of the general model, and the scans that it learns from."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.methods.scdnn import network as scdnn
from ivimsc.methods.scdnn.general import network as general
from ivimsc.methods.scdnn.general.canonical import make_basis
from ivimsc.training.loop import Schedule


def test_kernels_and_torch_agree():
    net = general.General(scdnn.Options(variant="general", atoms=32, units=2))
    with torch.no_grad():
        for mix in (net.w_mix, net.phi_mix, net.threshold_mix):
            mix.normal_(0, 1e-3)
    stream = general.Stream(net.basis, 0, 20, 128)
    _, (z, contexts, mixes, truth) = next(iter(stream.batches(Schedule(batch=128, epoch_voxels=128), 1)))
    net.standardise(stream.contexts)
    loss = general.relative_loss(net, z, contexts, mixes, truth)
    loss.backward()
    slopes = [p.grad.clone().double() for p in net.parameters()]
    net = net.double()
    net.zero_grad()
    again = general.relative_loss(net, *(t.double() for t in (z, contexts, mixes, truth)))
    again.backward()
    assert again.item() == pytest.approx(loss.item(), rel=1e-5)
    for slope, parameter in zip(slopes, net.parameters(), strict=True):
        assert (slope - parameter.grad).abs().max() <= 2e-3 * parameter.grad.abs().max() + 1e-9


def test_protocols_are_what_is_promised():
    random = np.random.default_rng(0)
    for _ in range(500):
        b = general.draw_bvalues(random)
        assert 4 <= len(b) <= 20 and b[0] <= 0.03 and 0.3 <= b[-1] <= 1.0 and np.all(np.diff(b) > 0)


def test_a_stream_is_a_function_of_its_seed_and_key():
    basis = make_basis()
    schedule = Schedule(batch=128, epoch_voxels=256)
    one, two = (general.Stream(basis, 3, 10, 128) for _ in range(2))
    for (_, a), (_, b) in zip(one.batches(schedule, 5), two.batches(schedule, 5), strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    other = next(iter(one.batches(schedule, 6)))[1]
    assert not torch.equal(a[3], other[3])


def test_a_stream_draws_rician_signals_of_its_truth():
    """At high SNR, ẑ leads back to the curve of the truth: over the linear S0, as the network is told."""
    stream = general.Stream(make_basis(), 1, 1, 128)
    b, _, _ = stream.scans[0]
    stream.scans = [(b, 1e-6, general.Projection.of(make_basis(), b, 1e-6))]
    _, (z, _, _, truth) = next(stream.batches(Schedule(batch=128, epoch_voxels=128), 0))
    found = z[0].numpy().astype(float) @ stream.scans[0][2].psi.T
    expected = truth[0, :, :1].numpy() * general.signals_of(truth[0, :, 1:].numpy().astype(float), b)
    np.testing.assert_allclose(found, expected, atol=2e-3)  # 8 curves hold a signal to 5e-4; float32


def test_the_loss_is_over_the_error_to_expect():
    """Scans of large and of small error count the same: the loss in training is of the order of 1 for both."""

    class Network:
        unit, training = torch.ones(4), True

        def __call__(self, z, contexts, mixes):
            return z

        def expected(self, contexts):
            return contexts

    for size in (1e-2, 4.0):
        z = torch.full((2, 128, 4), size)
        found = general.relative_loss(Network(), z, torch.full((2, 4), 2 * np.log(size)), None, torch.zeros_like(z))
        assert found.item() == pytest.approx(1 + 1 + 2 * np.log(size), rel=1e-5)
