"""SCDNN adapted to a population: slopes against torch, errors against the posterior mean, and what the model says of itself."""

from dataclasses import replace

import numpy as np
import pytest

from ivimsc.adapting.loop import Sights
from ivimsc.adapting.population import Population
from ivimsc.device.launch import Launch, choose_device
from ivimsc.fit.inputs import general_model
from ivimsc.methods import Inputs, load_method
from ivimsc.methods.scdnn.adapted.learner import adapt
from ivimsc.methods.scdnn.slopes import Slopes, learn_kernel
from ivimsc.methods.scdnn.units import WIDTH, blocks_of
from ivimsc.models import read_model, write_model
from ivimsc.models.typical import are_strange
from ivimsc.outcome import Outcome
from tests.conftest import FIVE, TEN, as_voxels, equation1, phantom
from tests.methods.scdnn.test_units import random_weights

FIELDS = ("w", "phi", "thresholds", "grid")
SNR = 25.0


def tissues(n, seed):
    """f, D, D* (n, 3) [1, µm²/ms] of two tissues that no phantom of the package has, f and D* tied together in one of them."""
    random = np.random.Generator(np.random.Philox(seed))
    a = np.column_stack([random.beta(12, 30, n), random.gamma(60, 1.9 / 60, n), np.zeros(n)])
    a[:, 2] = 90 * np.exp(random.normal(0, 0.15, n)) * (1 - a[:, 0])
    b = np.column_stack([random.beta(6, 60, n), random.gamma(90, 0.6 / 90, n), 14 * np.exp(random.normal(0, 0.2, n))])
    return np.where((random.random(n) < 0.6)[:, None], a, b)


def noisy(truth, bvalues, s0, seed, sigma=None):
    random = np.random.Generator(np.random.Philox(seed))
    clean = equation1(s0, *(truth * (1, 1e-3, 1e-3)).T, bvalues)
    noise = (sigma or 1 / SNR) * random.standard_normal((2, *clean.shape))
    return np.hypot(clean + noise[0], noise[1]).astype(np.float32)


def known_population(bvalues=TEN, learned=True):
    theta = tissues(40_000, 1)
    ratios = SNR * np.random.default_rng(3).uniform(0.7, 1.4, 500)
    ones = np.ones(len(bvalues))
    return Population(bvalues, ones, theta, np.ones(len(theta), bool), ratios, True, {"learned": learned})


def squares(e, truth):
    return (np.stack([e.f, e.D * 1e3, e.Dstar * 1e3], axis=1) - truth) ** 2


@pytest.fixture(scope="module")
def model():
    return adapt(known_population(), general_model(), Sights(sights=300_000), 0, choose_device())


def fitter(model, signals, bvalues=TEN, **options):
    module = load_method("scdnn")
    return module.prepare(as_voxels(signals, bvalues), module.Options(**options), Launch("cpu", 1), Inputs({"model": model}))  # fmt: skip


def test_slopes_of_the_loss_are_those_of_torch():
    torch = pytest.importorskip("torch")
    from ivimsc.methods.scdnn import network

    n, weights = WIDTH + 9, random_weights(FIVE)
    y, random = phantom(n, FIVE, snr=30).signals, np.random.default_rng(2)
    truth, factor = random.uniform(0.1, 2, (n, 4)).astype(np.float32), np.float32([0.4, 2.0, 1.5, 0.01])
    blocks, outputs = blocks_of(n), np.empty((n, 4), np.float32)
    slopes = Slopes(*(np.full((blocks, *getattr(weights, name).shape), np.nan, np.float32) for name in FIELDS))
    learn_kernel(0, blocks, y, truth, factor, weights, outputs, slopes)
    tensors = [torch.tensor(getattr(weights, name).astype(np.float64), requires_grad=True) for name in FIELDS]
    code = network.by_torch(torch.tensor(y.astype(np.float64)), *tensors[:3], False)
    tissue, d, blood, dstar = network.sums_of(code, tensors[3], weights.n_d).clamp_min(1e-12).unbind(1)
    given = torch.stack([tissue + blood, blood / (tissue + blood), d / tissue, dstar / blood], dim=1)
    (torch.tensor(factor) * (given - torch.tensor(truth)) ** 2 / 2).sum().backward()
    np.testing.assert_allclose(outputs, given.detach().numpy(), rtol=2e-4, atol=1e-5)
    for name, share, tensor in zip(FIELDS[:3], slopes, tensors, strict=False):
        expected = tensor.grad.numpy()
        assert np.abs(share.sum(0) - expected).max() < 1e-3 * np.abs(expected).max(), name  # float32 against float64


def test_near_the_posterior_mean_of_a_population_unlike_any_phantom(model, tmp_path):
    """S0 differs from voxel to voxel, and nobody is told; `bayes` under the true prior is what can be reached."""
    truth, s0 = tissues(6000, 11), np.random.default_rng(12).uniform(0.75, 1.3, 6000)
    signals = noisy(truth, TEN, s0, 13)
    prior = tissues(30_000, 14) * (1, 1e-3, 1e-3)
    keys = dict(zip(("f", "d", "dstar"), prior.T.astype(np.float32), strict=True))
    module = load_method("bayes")
    given = Inputs({"prior": keys | {"s0": np.ones(len(prior), np.float32)}})
    options = module.Options(prior="truth.h5", sigma=1 / SNR, likelihood="rician", draws=16_384)
    best = module.prepare(as_voxels(signals, TEN), options, choose_device(), given).fit(signals)
    ours = fitter(model, signals, sigma=1 / SNR).fit(signals)
    ratio = squares(ours, truth).mean(0) / squares(best, truth).mean(0)
    assert np.all(ratio < 1.15), ratio
    assert np.mean((ours.S0 - s0) ** 2) < 1.15 * np.mean((best.S0 - s0) ** 2)
    spread = np.stack([ours.fstd, ours.dstd * 1e3, ours.dstarstd * 1e3], axis=1)
    held = np.mean(squares(ours, truth) < (1.96 * spread) ** 2, axis=0)
    assert np.all((held > 0.93) & (held < 0.975)), held
    assert np.mean(ours.outcome == Outcome.OUTSIDE_TRAINING) < 0.01


def test_a_scan_of_another_population_is_flagged(model):
    random = np.random.default_rng(5)
    other = np.column_stack(
        [random.uniform(0.5, 0.7, 2000), random.uniform(2.6, 3.2, 2000), random.uniform(20, 40, 2000)]
    )
    signals = noisy(other, TEN, 1.0, 6)
    prepared = fitter(model, signals, sigma=1 / SNR)
    assert np.mean(are_strange(model, prepared.data.inputs(signals).inputs)) > 0.5  # by the signals alone
    strange = prepared.fit(signals)
    assert np.mean(strange.outcome == Outcome.OUTSIDE_TRAINING) > 0.6  # and by the estimates
    quiet = fitter(model, noisy(tissues(500, 7), TEN, 1.0, 8), sigma=1e-3)
    assert np.all(quiet.fit(noisy(tissues(500, 7), TEN, 1.0, 8)).outcome == Outcome.OUTSIDE_TRAINING)  # SNR 1000


def test_the_unit_does_not_matter_and_bad_voxels_are_told(model):
    signals = noisy(tissues(300, 21), TEN, 1.0, 22)
    one, other = fitter(model, signals, sigma=1 / SNR).fit(signals), fitter(model, 512 * signals, sigma=512 / SNR).fit(512 * signals)  # fmt: skip
    for name, factor in (("S0", 512), ("f", 1), ("D", 1), ("Dstar", 1), ("fstd", 1), ("dstarstd", 1)):
        np.testing.assert_allclose(getattr(other, name), factor * getattr(one, name), rtol=2e-4)
    bad = signals.copy()
    bad[0, 3], bad[1, 1], bad[2, 0], bad[3] = np.nan, np.inf, -1, 0
    e = fitter(model, bad, sigma=1 / SNR).fit(bad)
    assert e.outcome[:4].tolist() == [Outcome.BAD_SIGNAL] * 4
    for name in ("S0", "f", "D", "Dstar", "fstd", "dstd", "dstarstd"):
        values = getattr(e, name)
        assert np.isnan(values[:4]).all()
        np.testing.assert_array_equal(values[4:], getattr(one, name)[4:])


def test_a_known_s0_makes_a_network_for_signals_over_it(tmp_path):
    """Five b-values without b = 0, as in the paper; the truth of another draw is the prior of the best estimate."""
    population = replace(known_population(FIVE), s0_known=True, ratios=np.full(8, SNR))
    made = adapt(population, general_model(), Sights(sights=250_000), 0, choose_device())
    assert not made.finds_s0 and made.arrays["w"].shape[1] == 5
    truth = tissues(5000, 41)
    signals, prior = noisy(truth, FIVE, 1.0, 42), tissues(30_000, 43) * (1, 1e-3, 1e-3)
    keys = dict(zip(("f", "d", "dstar"), prior.T.astype(np.float32), strict=True))
    options = load_method("bayes").Options(prior="t.h5", sigma=1 / SNR, s0=1.0, likelihood="rician", draws=16_384)
    best = load_method("bayes").prepare(as_voxels(signals, FIVE), options, choose_device(), Inputs({"prior": keys})).fit(signals)  # fmt: skip
    ours = fitter(read_model(write_model(tmp_path / "m.safetensors", made)), signals, FIVE, s0=1.0).fit(signals)
    ratio = squares(ours, truth).mean(0) / squares(best, truth).mean(0)
    assert np.all(ratio < 1.15), ratio
    assert np.all(ours.fstd > 0) and np.mean(ours.outcome == Outcome.OUTSIDE_TRAINING) < 0.01


def test_threads_and_the_seed_make_the_weights():
    models = [adapt(known_population(FIVE), general_model(), Sights(sights=8_000), seed, Launch("cpu", threads))
              for seed, threads in ((0, 1), (0, 2), (1, 1))]  # fmt: skip
    assert models[0].about["options"]["start"] == "general"
    for name, array in models[0].arrays.items():
        np.testing.assert_array_equal(array, models[1].arrays[name])
    assert not np.array_equal(models[0].arrays["w"], models[2].arrays["w"])


def test_a_protocol_beyond_the_general_model_starts_from_the_dictionary(tmp_path):
    b = np.array([0, 20, 60, 150, 400, 800, 1500.0])
    made = adapt(known_population(b), general_model(), Sights(sights=40_000), 0, choose_device())
    assert made.about["options"]["start"] == "physical"
    loaded = read_model(write_model(tmp_path / "m.safetensors", made))
    truth = tissues(2000, 31)
    signals = noisy(truth, b, 1.0, 32)
    e = fitter(loaded, signals, b, sigma=1 / SNR).fit(signals)
    assert np.all(squares(e, truth).mean(0) < 0.8 * truth.var(0))  # far better than a constant
    assert any(line.startswith("b-values: 0, 20, 60") for line in loaded.card())
