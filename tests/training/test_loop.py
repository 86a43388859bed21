"""Samples: every voxel with its truth, and noise by equation (11) that is drawn anew at every sight."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.training.loop import Samples, Schedule

N = 4000


def seen(samples, key=0, **schedule):
    batches = [batch for _, batch in samples.batches(Schedule(**schedule), key)]
    return torch.cat([signals for signals, _ in batches]), batches


@pytest.mark.parametrize("rician", [True, False])
def test_fresh_noise(rician):
    """Rician: the second moment is A² + 2 σ², at A = 0 the mean is that of Rayleigh's; Gaussian: A² + σ², and 0."""
    sigma = torch.linspace(0.05, 0.2, N)
    clean = torch.tensor([0.0, 0.5]).expand(N, 2)
    signals, _ = seen(Samples(clean, None, sigma, rician), batch=500)
    order = torch.cat([torch.randperm(N, generator=torch.Generator().manual_seed(0))])
    scaled = (signals / sigma[order, None]).numpy().astype(float)
    square = np.mean(scaled[:, 1] ** 2 - (0.5 / sigma[order].numpy()) ** 2)
    # 4000 draws: means to 1.6 %, the second moment at A = 3 to 10 σ to 0.2
    assert np.mean(scaled[:, 0]) == pytest.approx(np.sqrt(np.pi / 2) if rician else 0, abs=0.06)
    assert np.mean(scaled[:, 0] ** 2) == pytest.approx(2 if rician else 1, abs=0.1)
    assert square == pytest.approx(2 if rician else 1, abs=0.7)
    assert (scaled.min() >= 0) == rician


def test_noise_is_another_at_every_sight():
    samples = Samples(torch.zeros(8, 3), None, torch.ones(8), False)
    signals, _ = seen(samples, batch=8, epoch_voxels=16)
    assert len(signals) == 16 and len(signals.unique()) == 48
    assert torch.equal(signals, seen(samples, batch=8, epoch_voxels=16)[0])
    assert not torch.equal(signals, seen(samples, key=1, batch=8, epoch_voxels=16)[0])


def test_every_voxel_comes_once_with_its_truth():
    number = torch.arange(10.0)[:, None]
    samples = Samples(number.expand(10, 2), 3 * number)
    signals, batches = seen(samples, batch=4)
    assert sorted(signals[:, 0].tolist()) == list(range(10)) and signals[:, 0].tolist() != list(range(10))
    for part, truth in batches:
        assert torch.equal(truth[:, 0], 3 * part[:, 0])
    ((n, (fixed, truth)),) = samples.fixed()
    assert n == 10 and torch.equal(fixed, samples.signals) and torch.equal(truth, samples.truth)


def test_a_batch_of_one_is_left_out():
    """Batch normalisation has no variance of one voxel."""
    assert [n for n, _ in Samples(torch.zeros(9, 2), None).batches(Schedule(batch=4), 0)] == [4, 4]
