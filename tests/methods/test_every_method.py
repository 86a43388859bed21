"""The same sentences for every method. A new method adds its line to `SUBJECTS`, and is held to all of them."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import ivimsc
from ivimsc.device.launch import choose_device, usable_cores
from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.methods import METHODS
from ivimsc.outcome import Outcome
from ivimsc.physics.models import MODELS
from ivimsc.simulate import write_phantom
from ivimsc.store import write_voxels
from tests.conftest import TEN, as_voxels, equation1, phantom, prepare_method, run_method


@dataclass(frozen=True)
class Subject:
    """A method as it is tested.

    Attributes
    ----------
    method : its name
    options : what makes a voxel's result depend on that voxel alone: no prior and no noise level from the data set
    slowest : least D* [mm²/s] of the voxels whose truth has to come back
    f, D, Dstar : how close noise-free truth comes back in most voxels: f absolute, D and D* relative
    why : why no closer
    too_few : b-values that are too few for it
    trained : it is trained first, on voxels like those of the tests
    blood : its model has it; else the noise-free signals have none
    noise_free : options for signals without noise, beside `options`
    share : of the voxels that are held to f, D and Dstar
    bvalues : ten, in s/mm²
    three_pools : its model has a fast pool beside the two
    """

    method: str
    options: dict = field(default_factory=dict)
    slowest: float = 10e-3
    f: float = 1e-4
    D: float = 1e-4
    Dstar: float = 1e-3
    why: str = "float32 signals have seven digits, of which the conditioning of D* costs four"
    too_few: tuple[float, ...] = (0, 50, 100)
    trained: bool = False
    blood: bool = True
    noise_free: dict = field(default_factory=dict)
    share: float = 0.99
    bvalues: np.ndarray = field(default_factory=lambda: TEN)
    three_pools: bool = False

    def phantom(self, n, snr=None, seed=0):
        """As `tests.conftest.phantom`, at the b-values of the method; with a third pool where its model has one."""
        p = phantom(n, self.bvalues, snr, seed)
        if self.three_pools:
            random = np.random.default_rng(seed + 1)
            p.Dstar, f2, Dstar2 = (
                random.uniform(12e-3, 25e-3, n),
                random.uniform(0.1, 0.2, n),
                random.uniform(0.3, 0.6, n),
            )
            truth = {"s0": p.S0, "f": p.f, "d": p.D, "dstar": p.Dstar, "f2": f2, "dstar2": Dstar2}
            clean = MODELS["triexp"].signals(truth, self.bvalues)
            p.signals = (clean + (random.normal(0, 1 / snr, clean.shape) if snr else 0)).astype(np.float32)
        return p


HIGH = np.array([0, 10, 20, 50, 100, 200, 400, 600, 800, 1000.0])  # what kurtosis needs

LOW = np.array([0, 5, 10, 20, 40, 80, 150, 300, 500, 800.0])  # what triexp needs

SUBJECTS = {
    subject.method: subject
    for subject in (
        Subject("adc", too_few=(50,), blood=False),
        Subject("simplified", slowest=40e-3, f=2e-3, D=4e-3, too_few=(0, 50, 200),
                why="blood is not quite gone at the split: exp(-8) at D* 40 µm²/ms"),
        Subject("nlls"),
        Subject("segmented", slowest=40e-3, f=2e-3, D=2e-3, Dstar=1e-2, why="blood is not quite gone at the split: exp(-8) at D* 40 µm²/ms"),
        Subject("kurtosis", f=2e-3, D=1e-2, Dstar=1e-2, too_few=(0, 50, 100, 300, 600), bvalues=HIGH,
                why="float32 signals have seven digits, of which the conditioning of five parameters costs five"),
        Subject("triexp", f=0.02, D=5e-3, Dstar=0.15, too_few=(0, 50, 100, 300, 600, 800), bvalues=LOW, three_pools=True,
                why="float32 signals have seven digits, of which the conditioning of six parameters costs five or six"),
        Subject("bayes", {"prior": "reciprocal", "sigma": "marginal"}, f=0.02, D=0.02, Dstar=0.1, too_few=(0, 50),
                noise_free={"sigma": 0.002}, why="a posterior mean is off by the skewness of the posterior, here at SNR 500"),
        Subject("ista", f=0.02, D=0.02, Dstar=0.1, too_few=(50,),
                why="atoms lie 2 % apart on the grids of D and D*"),
        Subject("scdnn", {"snr": 200.0}, f=0.12, D=0.2, Dstar=1.0,
                why="the general network is a posterior mean under a wide prior, at the SNR that it is told"),
        Subject("mlp", f=0.12, D=0.25, Dstar=1.5, too_few=(0, 50), trained=True, why="trained for seconds"),
        Subject("ivimnet", f=0.15, D=0.6, Dstar=0.8, too_few=(0, 50), trained=True, share=0.5, why="trained for seconds"),
    )
}  # fmt: skip


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The option `model` of a method that has to be trained first: some seconds on the phantom of the tests."""
    pytest.importorskip("torch", reason="torch is not installed: pip install 'ivimsc[learn]'")
    from ivimsc.train import TrainJob, train_file

    folder, models = tmp_path_factory.mktemp("models"), {}

    def model_of(method):
        if method not in models:
            store = folder / "uniform.h5"
            if not store.exists():
                write_phantom(store, "uniform", TEN, snr=100, seed=11, voxels=20_000)
            settings = {"epoch_voxels": 100_000, "batch": 256, "rate": 2e-3, "warm_up": 1}
            job = TrainJob(method, [store], folder / f"{method}.safetensors", epochs=5, device="cpu", settings=settings)
            models[method] = str(train_file(job).path)
        return {"model": models[method]}

    return model_of


@pytest.fixture(params=list(SUBJECTS), scope="module")
def subject(request):
    """One method after the other."""
    return SUBJECTS[request.param]


@pytest.fixture(scope="module")
def options(subject, request):
    """The options of the method under test."""
    return subject.options | (request.getfixturevalue("trained")(subject.method) if subject.trained else {})


@pytest.fixture
def run(subject, options):
    """run(signals, threads=1, **more): estimates by the method under test."""

    def call(signals, threads=1, **more):
        return run_method(subject.method, signals, subject.bvalues, threads, **(options | more))

    return call


def assert_same(a, b, rows=slice(None), other=slice(None), but=()):
    """Every field that the method has is the same, bit by bit."""
    one, two = dict(a.items()), dict(b.items())
    assert one.keys() == two.keys()
    for key in one.keys() - set(but):
        np.testing.assert_array_equal(one[key][rows], two[key][other], err_msg=key)


def test_every_method_is_a_subject():
    assert set(SUBJECTS) == set(METHODS)


def test_noise_free_truth_is_recovered(subject, run):
    p = subject.phantom(1000)
    signals = p.signals if subject.blood else equation1(p.S0, 0, p.D, p.Dstar, subject.bvalues)
    e = run(signals, **subject.noise_free)
    fast = p.Dstar >= subject.slowest
    np.testing.assert_allclose(np.median(e.S0[fast]), 1, atol=max(subject.f, 2e-3))
    for found, truth, tolerance, relative in (
        (e.f, p.f, subject.f, False), (e.D, p.D, subject.D, True), (e.Dstar, p.Dstar, subject.Dstar, True),
    ):  # fmt: skip
        if found is not None:
            error = np.abs(found / truth - 1 if relative else found - truth)[fast]
            assert np.quantile(error, subject.share) < tolerance, np.quantile(error, [0.5, 0.99])


def test_scaling_by_a_power_of_two_changes_s0_and_rmse_alone(subject, run):
    p = subject.phantom(300, snr=30)
    e, scaled = run(p.signals), run(p.signals * 1024)
    assert_same(e, scaled, but=("s0", "rmse"))
    np.testing.assert_array_equal(scaled.S0, e.S0 * 1024)
    np.testing.assert_array_equal(scaled.rmse, e.rmse * 1024)


@pytest.mark.parametrize("factor", [1e30, 1e-30])
def test_huge_and_tiny_signals_are_fitted(subject, run, factor):
    p = subject.phantom(50)
    e, plain = run(p.signals * np.float32(factor)), run(p.signals)
    np.testing.assert_allclose(e.D, plain.D, rtol=1e-3, atol=1e-6)  # the factor is no power of two: one rounding
    np.testing.assert_allclose(e.S0 / factor, plain.S0, rtol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_not_finite_is_flagged_and_its_neighbours_are_untouched(subject, run, value):
    p = subject.phantom(100, snr=30)
    spoiled = p.signals.copy()
    spoiled[17, 3] = value
    e, clean = run(spoiled), run(p.signals)
    assert e.outcome[17] == Outcome.BAD_SIGNAL
    for key, values in e.items():
        if key not in ("outcome", "iterations", "atoms"):
            assert np.isnan(values[17]), key
    rest = np.arange(100) != 17
    assert_same(e, clean, rest, rest)


@pytest.mark.parametrize("signal", [np.zeros(10), np.full(10, -1.0), np.r_[-0.1, np.ones(9)], np.r_[0, np.ones(9)]])
def test_a_signal_without_s0_is_bad(run, signal):
    e = run(signal[None])
    assert e.outcome[0] == Outcome.BAD_SIGNAL
    assert np.isnan(e.D[0]) and np.isnan(e.S0[0])


@pytest.mark.parametrize("signal", [np.ones(10), np.linspace(1, 2, 10)], ids=["constant", "rising"])
def test_a_signal_that_does_not_decay_is_not_converged(run, signal):
    assert run(signal[None]).outcome[0] != Outcome.CONVERGED


def test_one_exponential_has_no_dstar(subject, run):
    """D* of a signal without blood is the prior's or the network's word, never the data's."""
    random = np.random.default_rng(3)
    signals = np.exp(-subject.bvalues * 1.6e-3) + random.normal(0, 1 / 30, (200, 10))
    e = run(signals)
    if e.Dstar is not None:
        flagged = (
            Outcome.DSTAR_UNIDENTIFIABLE,
            Outcome.OUTSIDE_TRAINING,
            Outcome.AT_BOUND,
            Outcome.GAP,
            Outcome.MISFIT,
        )
        assert np.mean(np.isin(e.outcome, flagged)) > 0.8, np.bincount(e.outcome)


def test_threads_and_chunks_do_not_matter(subject, options):
    p = subject.phantom(3001, snr=30)
    voxels = as_voxels(p.signals, subject.bvalues)
    one = prepare_method(subject.method, voxels, choose_device("cpu", 1), **options)
    whole = one.fit(voxels.signals, 0)
    many = prepare_method(subject.method, voxels, choose_device("cpu", usable_cores()), **options)
    assert_same(whole, many.fit(voxels.signals, 0))
    for start, stop in ((0, 77), (77, 78), (1234, 3001)):
        assert_same(whole, one.fit(voxels.signals[start:stop], start), slice(start, stop))


def test_no_voxel_gives_empty_estimates(run):
    e = run(np.empty((0, 10)))
    assert e.S0.shape == e.outcome.shape == (0,)


def test_order_of_bvalues_and_type_and_layout_of_arrays_do_not_matter(subject, options):
    p = subject.phantom(40, snr=50)
    signals = np.round(p.signals * 4096).astype(np.float32)
    expected = ivimsc.fit_signals(signals, subject.bvalues, subject.method, **options)
    order = np.random.default_rng(1).permutation(10)
    assert_same(expected, ivimsc.fit_signals(signals[:, order], subject.bvalues[order], subject.method, **options))
    assert_same(expected, ivimsc.fit_signals(signals.astype(np.int16), subject.bvalues, subject.method, **options))
    assert_same(
        expected,
        ivimsc.fit_signals(np.asfortranarray(signals.astype(np.float64)), subject.bvalues, subject.method, **options),
    )
    shaped = ivimsc.fit_signals(signals.reshape(5, 8, 10), subject.bvalues, subject.method, **options)
    assert shaped.S0.shape == (5, 8)
    assert_same(expected, shaped.reshape((40,)))


def test_estimates_keep_to_their_range(subject, run):
    """Noise at SNR 5 drives estimates to the ends of their ranges; what leaves them is not called converged."""
    e = run(subject.phantom(500, snr=5).signals)
    told = np.isin(e.outcome, (Outcome.CONVERGED, Outcome.AT_BOUND, Outcome.DSTAR_UNIDENTIFIABLE))
    for values, low, high in ((e.f, 0, 1), (e.D, 0, 5e-3), (e.Dstar, 0, 0.3)):
        if values is not None:
            known = values[told & np.isfinite(values)]
            assert np.all((known >= low) & (known <= high * (1 + 1e-6)))


def test_rmse_is_that_of_the_residuals(subject, run):
    p = subject.phantom(200, snr=30)
    e = run(p.signals)
    if e.f is not None and e.Dstar is not None:
        known = np.isfinite(e.f) & np.isfinite(e.D) & np.isfinite(e.Dstar)
        model = "triexp" if e.f2 is not None else "kurtosis" if e.K is not None else "biexp"
        rest = MODELS[model].signals(dict(e.items()), subject.bvalues) - p.signals
        # segmented fits the low b-values to what the tissue leaves, ista with more atoms than two: theirs are smaller
        assert np.median(np.sqrt(np.mean(rest**2, axis=1))[known] / e.rmse[known]) == pytest.approx(1, rel=0.15)


def test_a_file_holds_what_the_fit_of_arrays_gives_and_maps_of_nothing_else(subject, options, tmp_path):
    p = subject.phantom(60, snr=30)
    write_voxels(tmp_path / "v.h5", as_voxels(p.signals, subject.bvalues))
    done = fit_file(FitJob(tmp_path / "v.h5", subject.method, tmp_path, device="cpu", settings=options))
    expected = ivimsc.fit_signals(p.signals, subject.bvalues, subject.method, **options)
    with ivimsc.EstimateStore(done.store) as store:
        assert_same(expected, store.read())
    keys = {path.name.split("_param-")[1].split("_")[0] for path in done.maps}
    assert keys <= {key for key, _ in expected.items()}
    assert {"s0", "d", "rmse", "outcome"} <= keys and ("f" in keys) == (expected.f is not None)


def test_too_few_bvalues_are_an_error_of_one_line(subject, options):
    few = np.array(subject.too_few, float)
    with pytest.raises(InputError, match=r"found .* expected") as error:
        run_method(subject.method, np.ones((1, len(few))), few, **options)
    assert "\n" not in str(error.value)


def test_a_bad_option_is_an_error_of_one_line(subject, options):
    with pytest.raises(InputError, match=f"option of {subject.method}: found 'nonsense', expected one of") as error:
        run_method(subject.method, np.ones((1, 10)), subject.bvalues, **(options | {"nonsense": "1"}))
    assert "\n" not in str(error.value)
