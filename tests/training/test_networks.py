"""The networks: against the equations, physics and each other."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.errors import InputError
from ivimsc.methods.ivimnet.network import BOUNDS, IvimNet, biexponential
from ivimsc.methods.ivimnet.network import Options as IvimNetOptions
from ivimsc.methods.mlp.network import Mlp
from ivimsc.methods.mlp.network import Options as MlpOptions
from ivimsc.methods.scdnn import network as scdnn
from ivimsc.methods.scdnn.general import network as general
from ivimsc.methods.scdnn.general.canonical import Projection, make_basis
from ivimsc.methods.scdnn.network import Scdnn
from ivimsc.train import TrainJob, _options
from ivimsc.training.build import build, build_general
from ivimsc.training.data import Data
from ivimsc.training.loop import Schedule
from tests.conftest import FIVE, equation1, phantom


def network(**options):
    return Scdnn(FIVE, scdnn.Options(**({"atoms": 60, "units": 3} | options)))


class TestPhysics:
    def test_value_and_slope_are_those_of_equation_1(self):
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

    def test_the_canonical_curves_hold_every_signal(self):
        basis, p = make_basis(), phantom(300)
        for bvalues in (FIVE, np.linspace(0, 1000, 20)):
            signals = equation1(p.S0, p.f, p.D, p.Dstar, bvalues)
            psi = basis.at(bvalues * 1e-3)
            z = np.linalg.lstsq(psi, signals.T, rcond=None)[0]
            assert np.abs(psi @ z - signals.T).max() < 5e-4  # a tenth of the noise at SNR 200

    def test_the_error_covariance_of_a_scan_is_that_of_its_estimate(self):
        basis, b, sigma = make_basis(), FIVE * 1e-3, 0.05
        scan = Projection.of(basis, b, sigma)
        random = np.random.default_rng(1)
        z = random.normal(size=(200_000, 8))
        y = z @ scan.psi.T + sigma * random.normal(size=(len(z), 5))
        error = y @ scan.project.T - z
        logarithm = np.zeros((8, 8))
        logarithm[np.triu_indices(8)] = scan.context
        logarithm = logarithm + np.triu(logarithm, 1).T
        values, vectors = np.linalg.eigh(logarithm)
        # 200,000 draws: entries to about 0.3 %
        np.testing.assert_allclose(error.T @ error / len(z), (vectors * np.exp(values)) @ vectors.T, atol=0.02)


class TestScdnn:
    def test_gradients_are_those_of_finite_differences(self):
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
    def test_the_free_form_starts_as_the_factored_one(self, threshold):
        y = torch.tensor(phantom(40, FIVE, snr=30).signals)
        factored = network(threshold=threshold, beta=0.01)
        free = network(threshold=threshold, beta=0.01, form="free")
        torch.testing.assert_close(free.code(y), factored.code(y), rtol=1e-3, atol=2e-6)

    def test_kernels_and_torch_agree(self):
        net, y = network(beta=0.01), torch.tensor(phantom(100, FIVE, snr=30).signals)
        by_kernels = net(y)
        by_torch = net.double()(y.double())
        torch.testing.assert_close(by_kernels.double(), by_torch, rtol=2e-5, atol=1e-6)

    def test_shared_units_share_their_slopes(self):
        net, y = network(shared=True), torch.tensor(phantom(64, FIVE, snr=30).signals)
        assert net.w.shape[0] == 2
        net(y).sum().backward()
        own = network()
        own(y).sum().backward()
        torch.testing.assert_close(net.w.grad[1], own.w.grad[1:].sum(0), rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize(("options", "says"), [
        ({"atoms": 7}, "even number"), ({"atoms": 2}, "even number"), ({"units": 0}, "at least 1"), ({"threshold": "x"}, "soft or hard"), ({"beta": -1.0}, ">= 0"),
    ])  # fmt: skip
    def test_refused(self, options, says):
        with pytest.raises(InputError, match=says):
            scdnn.Options(**options)


class TestRivals:
    def test_mlp_folds_its_standardisation(self):
        p = phantom(200, FIVE, snr=30)
        truth = torch.tensor(np.stack([p.f, p.D * 1e3, p.Dstar * 1e3], 1), dtype=torch.float32)
        net = Mlp(FIVE, MlpOptions(layers=2, width=20))
        net.standardise(torch.tensor(p.signals), truth)
        arrays, x = {k: a.numpy().astype(np.float64) for k, a in net.arrays().items()}, p.signals.astype(np.float64)
        for i in range(3):
            x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
            x = np.maximum(x, 0) if i < 2 else x
        np.testing.assert_allclose(x, net(torch.tensor(p.signals)).detach().numpy(), rtol=1e-4, atol=1e-4)

    def test_ivimnet_stays_within_its_bounds(self):
        net = IvimNet(FIVE, IvimNetOptions()).eval()
        out = net(100 * torch.randn(500, 5)).detach().numpy()
        for column, (low, high) in zip(out.T, BOUNDS, strict=True):
            assert low <= column.min() and column.max() <= high


class TestGeneral:
    def test_kernels_and_torch_agree(self):
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

    def test_protocols_are_what_is_promised(self):
        random = np.random.default_rng(0)
        for _ in range(500):
            b = general.draw_bvalues(random)
            assert 4 <= len(b) <= 20 and b[0] <= 0.03 and 0.3 <= b[-1] <= 1.0 and np.all(np.diff(b) > 0)

    def test_a_stream_is_a_function_of_its_seed_and_key(self):
        basis = make_basis()
        schedule = Schedule(batch=128, epoch_voxels=256)
        one, two = (general.Stream(basis, 3, 10, 128) for _ in range(2))
        for (_, a), (_, b) in zip(one.batches(schedule, 5), two.batches(schedule, 5), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        other = next(iter(one.batches(schedule, 6)))[1]
        assert not torch.equal(a[3], other[3])


@pytest.mark.parametrize(
    ("name", "settings"),
    [("scdnn", {}), ("scdnn", {"variant": "paper"}), ("scdnn", {"variant": "general"}), ("mlp", {}), ("ivimnet", {})],
)
def test_a_training_step_stays_on_its_device(name, settings):
    """A device without numbers stands for a GPU: torch refuses to mix it with the CPU, and runs no kernel of ours."""
    options, schedule, chosen = _options(TrainJob(name, [], Path("model.safetensors"), settings=settings))
    random = np.random.default_rng(0)
    signals, clean, truth = (random.uniform(0.1, 1, (40, n)).astype(np.float32) for n in (5, 5, 3))
    data = Data(FIVE, signals, truth, clean, np.full(40, 0.03, np.float32), True)
    general_scans = settings.get("variant") == "general"
    plan = build_general(options, schedule, 0) if general_scans else build(name, options, schedule, chosen, data, 0)
    there = torch.device("meta")
    net, training = plan.network.to(there), plan.training.to(there)
    _, batch = next(iter(training.batches(schedule, 1)))
    plan.loss(net, *batch).backward()
    slopes = [p.grad for p in net.parameters() if p.grad is not None]
    assert slopes and all(slope.device == there for slope in slopes)
