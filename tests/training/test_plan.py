"""A training made ready: the split of the voxels, the losses, and a step on a device without numbers."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.methods import METHODS
from ivimsc.train import TrainJob, _options
from ivimsc.training.data import Data
from ivimsc.training.plan import parameter_loss, signal_loss
from tests.conftest import FIVE


def data_of(n=40):
    """Voxels whose signals and truth tell their number."""
    number = np.arange(n, dtype=np.float32)[:, None]
    signals, clean, truth = number + np.zeros(5), number + 1000 + np.zeros(5), number * np.array([1, 2, 4])
    sigma = np.full(n, 0.03, np.float32)
    return Data(FIVE, *(a.astype(np.float32) for a in (signals, truth, clean)), sigma, True)


def planned(name, data, seed=0, **settings):
    network = METHODS[name].load_network()
    job = TrainJob(name, [], Path("model.safetensors"), settings=settings)
    return network.plan(*_options(job, network), data, seed)


@pytest.mark.parametrize("name", ["mlp", "ivimnet"])
@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_no_voxel_both_trains_and_validates(name, fraction):
    plan = planned(name, data_of(), fraction=fraction, validation=0.25)
    used = {round(v) % 1000 for v in plan.training.signals[:, 0].tolist()}  # clean signals are above 1000
    held = {round(v) for v in plan.validation.signals[:, 0].tolist()}
    assert not used & held and used | held <= set(range(40))
    assert (len(used), len(held)) == ((30, 10) if fraction == 1 else (15, 5))
    if name == "mlp":
        np.testing.assert_array_equal(plan.training.truth[:, 0] % 1000, plan.training.signals[:, 0] % 1000)
        np.testing.assert_array_equal(plan.validation.truth[:, 0], plan.validation.signals[:, 0])
    other = planned(name, data_of(), seed=1, fraction=fraction, validation=0.25)
    assert not torch.equal(plan.validation.signals, other.validation.signals)


def test_fresh_noise_is_drawn_onto_clean_signals_and_validation_keeps_the_stored_ones():
    plan = planned("mlp", data_of())
    assert (plan.training.signals >= 1000).all() and (plan.validation.signals < 1000).all()
    assert (plan.training.sigma == np.float32(0.03)).all() and plan.validation.sigma is None
    stored = planned("mlp", data_of(), noise="store")
    assert (stored.training.signals < 1000).all() and stored.training.sigma is None
    louder = planned("mlp", data_of(), snr=20.0)
    assert (louder.training.sigma == np.float32(0.05)).all()


def test_the_card_has_the_parameters_that_were_learned_from():
    """IVIM-NET learns from signals alone, so that its card limits these alone."""
    supervised, blind = (planned(name, data_of()).about["range"] for name in ("mlp", "ivimnet"))
    assert set(blind) == {"low", "high"} and set(supervised) == {"low", "high", "f", "D", "Dstar"}
    low, high = (int(supervised[end][0]) for end in ("low", "high"))
    assert supervised["D"] == [2 * low, 2 * high] and supervised["Dstar"] == [4 * low, 4 * high]


def test_a_constant_has_a_loss_of_one():
    """The squared errors of f, D and D* are each over the variance of the truth, so that they count the same."""
    truth = torch.tensor(np.random.default_rng(0).normal((0.2, 1.5, 60), (0.1, 0.3, 25), (1000, 3)))
    loss = parameter_loss(truth.std(0))
    constant = loss(lambda signals: truth.mean(0).expand_as(truth), truth, truth)
    assert constant.item() == pytest.approx(1, abs=2e-3)  # 999 / 1000
    for k in range(3):
        off = truth.clone()
        off[:, k] += truth.std(0)[k]
        assert loss(lambda signals, off=off: off, truth, truth).item() == pytest.approx(1 / 3)


def test_the_loss_of_a_plan_is_over_the_variances_of_its_training_truth():
    plan = planned("mlp", data_of())
    sd = plan.training.truth.std(0)
    assert sd[2] == pytest.approx(4 * sd[0].item())
    off = plan.validation.truth + sd
    assert plan.loss(lambda signals: off, plan.validation.signals, plan.validation.truth).item() == pytest.approx(1)


def test_without_truth_the_network_says_its_own_loss():
    class Network:
        def loss(self, signals):
            return signals.sum()

    assert signal_loss(Network(), torch.ones(3), None) == 3


@pytest.mark.parametrize(
    ("name", "settings"),
    [("scdnn", {}), ("scdnn", {"variant": "paper"}), ("scdnn", {"variant": "general"}), ("mlp", {}), ("ivimnet", {})],
)
def test_a_training_step_stays_on_its_device(name, settings):
    """A device without numbers stands for a GPU: torch refuses to mix it with the CPU, and runs no kernel of ours."""
    random = np.random.default_rng(0)
    signals, clean, truth = (random.uniform(0.1, 1, (40, n)).astype(np.float32) for n in (5, 5, 3))
    data = Data(FIVE, signals, truth, clean, np.full(40, 0.03, np.float32), True)
    general_scans = settings.get("variant") == "general"
    plan = planned(name, None if general_scans else data, **settings)
    there = torch.device("meta")
    net, training = plan.network.to(there), plan.training.to(there)
    _, batch = next(iter(training.batches(plan.schedule, 1)))
    plan.loss(net, *batch).backward()
    slopes = [p.grad for p in net.parameters() if p.grad is not None]
    assert slopes and all(slope.device == there for slope in slopes)
