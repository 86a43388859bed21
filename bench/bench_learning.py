"""What a learned dictionary is worth: defaults of scdnn, noise levels, protocols, and the speed of inference.

Every error is a ratio to the smallest possible mean squared error (the posterior mean under the true prior) of the same
voxels: 1 is what no estimator can beat. Networks for one protocol are trained at SNR 30 on cohort-train, and read
cohort-test; S0 = 1 is known to them, and to the bound.

Run ``python -m pytest bench/bench_learning.py``; it writes bench/results/learning_*.md. It trains some twenty networks, about
half a minute each. One question alone: ``-k defaults``, ``-k "noise_and or sparsity"``, ``-k any_protocol``, ``-k inference``,
``-k adapted`` (no truth: SCDNN that learned its scan), ``-k calibration`` (their SDs) or ``-k centre`` (the second centre).
"""

import time
from unittest.mock import patch

import numpy as np
import pytest
from scipy.special import ndtr

import ivimsc
from ivimsc.adapting.loop import Sights
from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import choose_device
from ivimsc.dictionaries import export_dictionary
from ivimsc.fit import fit_signals
from ivimsc.fit.inputs import general_model
from ivimsc.fit.population import Told, population_of
from ivimsc.methods import METHODS, Inputs, load_method
from ivimsc.methods.bayes import prior_and_noise
from ivimsc.methods.scdnn.general.canonical import DSTAR, D, F, draw_parameters, signals_of
from ivimsc.methods.scdnn.units import WIDTH
from ivimsc.models import read_model
from ivimsc.simulate import simulate_phantom, write_phantom
from ivimsc.store import VoxelStore
from ivimsc.voxels import SelectedVoxels
from tests.conftest import FIVE, as_voxels

general = pytest.importorskip("ivimsc.methods.scdnn.general.network", reason="torch is not installed")
from ivimsc.train import TrainJob, train_file  # noqa: E402

KEYS = ("f", "d", "dstar")
ALL_B = [0, *FIVE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("learning")
    write_phantom(path / "train.h5", "cohort-train", bvalues=ALL_B, snr=30, seed=1)
    for snr in (15, 30, 60, 100):
        write_phantom(path / f"test{snr}.h5", "cohort-test", bvalues=ALL_B, snr=snr, seed=2)
    write_phantom(path / "centre2.h5", "cohort-3t", bvalues=ALL_B, snr=45, seed=3)
    return path


def trained(folder, name, seed=0, **settings):
    out = folder / f"{name}-{abs(hash(tuple(sorted(settings.items())))) % 10**8}-{seed}.safetensors"
    if not out.exists():
        train_file(TrainJob(name, [folder / "train.h5"], out, FIVE, seed=seed, settings=settings))
    return read_model(out)


class Tested:
    """Some voxels of a test store with the squared errors of the best possible estimate."""

    __test__ = False  # pytest takes its name for that of a test

    def __init__(self, path, voxels=20_000):
        with VoxelStore(path) as store:
            signals, truth, sigma = store.read(0, len(store)), store.truth, store.attrs["sigma"]
        bounds = [smallest_error(np.ascontiguousarray(signals[:, 1:]), truth, FIVE, sigma, True, True, choose_device(), seed) for seed in range(3)]  # fmt: skip
        self.places = np.concatenate([bound.tested for bound in bounds])
        self.least = np.concatenate([bound.noisy for bound in bounds]).mean(0)
        self.signals, self.sigma = signals[self.places], sigma
        self.truth = np.stack([truth[key][self.places] for key in KEYS], axis=1)

    def ratios(self, estimates):
        found = np.stack([estimates.f, estimates.D, estimates.Dstar], axis=1)
        squares = (found - self.truth) ** 2
        return listed(np.nanmean(squares, axis=0) / self.least)


@pytest.fixture(scope="module")
def tests(folder):
    return {snr: Tested(folder / f"test{snr}.h5") for snr in (15, 30, 60, 100)} | {
        "3 T, SNR 45": Tested(folder / "centre2.h5")
    }


def listed(ratio):
    """Ratios of f, D and D* to four digits: they are all near 1."""
    return {name: f"{value:.4f}" for name, value in zip(("f", "D", "D*"), ratio, strict=True)}


VARIANTS = {
    "default: N = 600, T = 8, soft, factored": {},
    "T = 4": {"units": 4},
    "T = 2": {"units": 2},
    "N = 200": {"atoms": 200},
    "hard threshold": {"threshold": "hard"},
    "hard threshold from β = 0.01": {"threshold": "hard", "beta": 0.01},
    "thresholds from β = 0.01": {"beta": 0.01},
    "shared units": {"shared": True},
    "random start": {"start": "random"},
    "learned grids": {"grids": "learned"},
    "rate 1e-4 (the paper's)": {"rate": 1e-4},
    "stored noise": {"noise": "store"},
}


@pytest.mark.parametrize("name", VARIANTS)
def bench_defaults(name, folder, tests, record):
    begin = time.perf_counter()
    model = trained(folder, "scdnn", fraction=0.1, epochs=6, epoch_voxels=100_000, **VARIANTS[name])
    seconds = time.perf_counter() - begin
    estimates = fit_signals(tests[30].signals, ALL_B, method="scdnn", model=model.source, s0=1.0)
    losses = model.about["history"]["validation"]
    record("learning_defaults", "SCDNN: what each choice does (a tenth of cohort-train, 6 epochs of 100,000 voxels; MSE over the smallest possible)",
           network=name, **tests[30].ratios(estimates), **{"loss after epoch 1": f"{losses[0]:.4f}", "loss, best": f"{min(losses):.4f}", "seconds": seconds})  # fmt: skip


def bench_noise_and_centre(folder, tests, record):
    """Networks of SNR 30 at other noise levels and another centre, beside what needs no training for these."""
    scdnn, mlp, ivimnet = (trained(folder, name) for name in ("scdnn", "mlp", "ivimnet"))
    export_dictionary(scdnn.source, folder / "learned.h5", force=True)
    for name, test in tests.items():
        five, sigma = np.ascontiguousarray(test.signals[:, 1:]), test.sigma
        fits = {
            "scdnn, trained at SNR 30": (test.signals, ALL_B, {"method": "scdnn", "model": scdnn.source, "s0": 1.0}),
            "mlp, trained at SNR 30": (test.signals, ALL_B, {"method": "mlp", "model": mlp.source, "s0": 1.0}),
            "ivimnet, trained at SNR 30": (
                test.signals,
                ALL_B,
                {"method": "ivimnet", "model": ivimnet.source, "s0": 1.0},
            ),
            "scdnn, general (S0 unknown, any protocol)": (five, FIVE, {"method": "scdnn", "sigma": sigma}),
            "bayes, shrinkage (S0 known)": (five, FIVE, {"method": "bayes", "s0": 1.0, "sigma": sigma}),
            "nlls (S0 known)": (five, FIVE, {"method": "nlls", "s0": 1.0}),
            "ista, fixed dictionary": (five, FIVE, {"method": "ista"}),
            "ista, learned dictionary": (five, FIVE, {"method": "ista", "dictionary": str(folder / "learned.h5")}),
        }
        for method, (signals, bvalues, options) in fits.items():
            estimates = fit_signals(signals, bvalues, **options)
            record("learning_noise", "Fixed and learned dictionaries at other noise levels and another centre (b = 20, 50, 150, 300, 500; MSE over the smallest possible)",
                   test=f"SNR {name}" if isinstance(name, int) else name, method=method, **test.ratios(estimates))  # fmt: skip


def bench_sparsity(folder, tests, record):
    """How many atoms a voxel has, and how the codes are spread, at SNR 30."""
    scdnn, test = trained(folder, "scdnn"), tests[30]
    export_dictionary(scdnn.source, folder / "learned.h5", force=True)
    signals = test.signals[:4000]
    five = np.ascontiguousarray(signals[:, 1:])
    fits = {
        "ista, fixed dictionary, β = 0": (five, FIVE, {"method": "ista"}),
        "ista, fixed dictionary, β = 0.03": (five, FIVE, {"method": "ista", "beta": 0.03}),
        "ista, learned dictionary, β = 0": (five, FIVE, {"method": "ista", "dictionary": str(folder / "learned.h5")}),
        "scdnn": (signals, ALL_B, {"method": "scdnn", "model": scdnn.source, "s0": 1.0, "spectrum": True}),
        "scdnn, general": (five, FIVE, {"method": "scdnn", "sigma": test.sigma, "spectrum": True}),
    }
    for name, (rows, bvalues, options) in fits.items():
        data, indices, indptr = fit_signals_with_spectrum(rows, bvalues, options)
        voxel = np.repeat(np.arange(len(rows)), np.diff(indptr))
        total = np.bincount(voxel, data, len(rows))
        share = data / total[voxel]
        effective = 1 / np.bincount(voxel, share**2, len(rows))
        record("learning_sparsity", "Sparsity of the codes at SNR 30, five b-values (mean over 4000 voxels)", code=name,
               **{"atoms": float(np.diff(indptr).mean()), "effective atoms (1 / Σ share²)": float(effective.mean()), "atoms used by any voxel": len(np.unique(indices))})  # fmt: skip


def fit_signals_with_spectrum(signals, bvalues, options):
    """The spectrum that `fit_signals` leaves out where it reshapes."""
    from tests.conftest import as_voxels, prepare_method

    options, voxels = dict(options), as_voxels(signals, bvalues)
    return prepare_method(options.pop("method"), voxels, choose_device(), **options).fit(voxels.signals).spectrum


def bench_any_protocol(record):
    """The general model on protocols and noise levels that it has not seen; the bound: bayes under the same wide prior."""
    random, n, ratios = np.random.Generator(np.random.Philox(4242)), 1024, []
    for _ in range(40):
        b, snr = general.draw_bvalues(random), float(np.exp(random.uniform(np.log(10), np.log(200))))
        truth = draw_parameters(n, random)
        clean, sigma = signals_of(truth, b), 1 / snr
        y = np.hypot(
            clean + sigma * random.standard_normal(clean.shape), sigma * random.standard_normal(clean.shape)
        ).astype(np.float32)
        limits = {"f_bounds": F, "d_bounds": tuple(1e-3 * x for x in D), "dstar_bounds": tuple(1e-3 * x for x in DSTAR)}
        errors = []
        for options in (
            {"method": "bayes", "prior": "reciprocal", "likelihood": "rician", "points": 4096, **limits},
            {"method": "scdnn"},
        ):
            e = ivimsc.fit_signals(y, b * 1e3, sigma=sigma, **options)
            errors.append(np.nanmean((np.stack([e.f, e.D * 1e3, e.Dstar * 1e3], axis=1) - truth) ** 2, axis=0))
        ratio = errors[1] / errors[0]
        ratios.append(ratio)
        title = f"One model for any scan: general scdnn on 40 protocols and noise levels not seen in training ({n} voxels each; MSE over that of bayes under the same prior, S0 unknown to both)"
        words = ", ".join(f"{1e3 * x:.0f}" for x in b)
        record(
            "learning_general",
            title,
            **{"b [s/mm²]": words, "SNR": snr},
            **listed(ratio),
        )
    mean = np.exp(np.mean(np.log(ratios), axis=0))
    record(
        "learning_general",
        title,
        **{"b [s/mm²]": "geometric mean", "SNR": ""},
        **listed(mean),
    )
    record(
        "learning_general",
        title,
        **{"b [s/mm²]": "largest", "SNR": ""},
        **listed(np.max(ratios, axis=0)),
    )


def bench_inference(folder, record):
    """Voxels per second without torch, and of torch, on the same voxels; N = 600, T = 8, five b-values."""
    torch = pytest.importorskip("torch")
    from ivimsc.methods import Inputs, load_method, make_options
    from ivimsc.methods.scdnn.network import by_torch, sums_of
    from tests.conftest import as_voxels

    model = trained(folder, "scdnn")
    with VoxelStore(folder / "test30.h5") as store:
        signals = store.read(0, len(store))
    module = load_method("scdnn")
    fitter = module.prepare(
        as_voxels(signals, ALL_B), make_options(module, {"s0": 1.0}), choose_device(), Inputs({"model": model})
    )
    y = np.ascontiguousarray(signals[:, 1:])
    flops = 4 * 5 * 600 * 8 + 2 * 5 * 600

    def best(call, times=5):
        call()
        return min(_timed(call) for _ in range(times))

    arrays = [torch.tensor(model.arrays[name]) for name in ("w", "phi", "thresholds", "grid")]
    torch.set_num_threads(choose_device().threads)

    def in_torch():
        with torch.no_grad():
            for part in torch.from_numpy(y[: 64 * WIDTH * 8]).split(4096):
                sums_of(by_torch(part, *arrays[:3], False), arrays[3], 300)

    rates = {
        "units in Numba": len(y) / best(lambda: fitter.code(y)),
        "fit (signals to estimates)": len(y) / best(lambda: fitter.fit(signals, 0)),
        "units in torch": 64 * WIDTH * 8 / best(in_torch),
    }
    for name, rate in rates.items():
        record("learning_speed", f"Inference of a factored SCDNN, N = 600, T = 8, five b-values: {flops / 1e3:.0f} kflop per voxel", what=name, **{"voxels/s": rate, "Gflop/s": rate * flops * 1e-9})  # fmt: skip


def _timed(call):
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


VOLUMES = {"placenta": (48, 48, 12), "abdomen": (44, 40, 10), "brain": (36, 44, 12)}


class Scan:
    """A phantom at SNR 30 with the smallest possible errors (S0 unknown), and what its signals alone tell of its population."""

    def __init__(self, name, seed=11, snr=30.0):
        self.voxels = simulate_phantom(name, snr=snr, seed=seed, shape=VOLUMES[name])
        self.signals, self.b, self.sigma = self.voxels.signals, self.voxels.bvalues, 1 / snr
        bounds = [smallest_error(self.signals, self.voxels.truth, self.b, self.sigma, True, False, choose_device(), s) for s in range(2)]  # fmt: skip
        self.tested, products = np.concatenate([b.tested for b in bounds]), np.concatenate([b.noisy for b in bounds])
        self.least = products.mean(0)
        self.truth = np.stack([self.voxels.truth[key] for key in KEYS], axis=1)
        kept = []

        def learn(*arguments, **more):
            kept.append(prior_and_noise.learn(*arguments, **more))
            return kept[-1]

        begin = time.process_time()
        with patch("ivimsc.fit.population.learn", learn):
            self.population, self.notes = population_of(self.voxels, choose_device())
        self.seconds, self.learnt = time.process_time() - begin, kept[-1]

    def bayes(self):
        """bayes with the very population that the network learns from."""
        with patch("ivimsc.methods.bayes.method.learn", lambda *_, **__: self.learnt):
            return fit_signals(self.signals, self.b, "bayes")

    def by(self, model):
        """The estimates of an adapted model, and voxels per second of CPU."""
        module = load_method(model.method)
        prepared = module.prepare(
            self.voxels, module.Options(sigma=self.sigma), choose_device(), Inputs({"model": model})
        )
        prepared.fit(self.signals[:256])
        begin = time.process_time()
        found = prepared.fit(self.signals)
        return found, len(self.signals) / (time.process_time() - begin)

    def row(self, e, reference=None):
        """Errors of f, D, D* over the smallest possible; over those of `reference`, of all voxels; and what the intervals hold."""
        found = np.stack([e.f, e.D, e.Dstar], axis=1)
        squares = (found - self.truth) ** 2
        texts = {"over the smallest possible: f, D, D*": listing(np.nanmean(squares[self.tested], axis=0) / self.least)}
        if reference is not None:
            theirs = (np.stack([reference.f, reference.D, reference.Dstar], axis=1) - self.truth) ** 2
            texts["over bayes"] = listing(squares.mean(0) / theirs.mean(0))
        if e.fstd is not None and e.dstarstd is not None:
            spread = np.stack([e.fstd, e.dstd, e.dstarstd], axis=1)
            texts["95 % intervals hold"] = listing(np.mean(np.abs(found - self.truth) < 1.96 * spread, axis=0))
        texts["outcomes 1, 4, 7, 8"] = ", ".join(f"{100 * np.mean(e.outcome == k):.1f} %" for k in (1, 4, 7, 8))
        return texts


def listing(values):
    return ", ".join(f"{v:.3g}" for v in values)


@pytest.mark.parametrize("phantom", VOLUMES)
def bench_adapted(phantom, record):
    """SCDNN that learned a scan without truth, beside bayes with the same population, and methods that do not know it."""
    scan, launch = Scan(phantom), choose_device()
    title = "SCDNN adapted to a scan without truth: mean squared errors (SNR 30, ten b-values, S0 unknown)"
    best = scan.bayes()
    rows = {"nlls": fit_signals(scan.signals, scan.b, "nlls"), "ista": fit_signals(scan.signals, scan.b, "ista"),
            "scdnn, general": fit_signals(scan.signals, scan.b, "scdnn"), "bayes, the same population": best}  # fmt: skip
    for name, e in rows.items():
        record(
            "learning_adapted", title, phantom=phantom, method=name, **{"learning [s of CPU]": ""}, **scan.row(e, best)
        )
    for name in ("scdnn",):
        begin = time.process_time()
        model = METHODS[name].load_adapting().adapt(scan.population, general_model(), Sights(), 0, launch)
        seconds = time.process_time() - begin
        found, speed = scan.by(model)
        words = f"{scan.seconds:.0f} + {seconds:.0f}; {speed:,.0f} voxels per s of CPU"
        record("learning_adapted", title, phantom=phantom, method=f"{name}, adapted", **{"learning [s of CPU]": words}, **scan.row(found, best))  # fmt: skip


@pytest.mark.parametrize("phantom", VOLUMES)
def bench_calibration(phantom, record):
    """Ranks and intervals on voxels of the population that the networks have not seen: each mean ± SD taken as a normal."""
    scan, launch = Scan(phantom), choose_device()
    drawn = scan.population.draw(40_000, np.random.Generator(np.random.Philox(77)))
    signals = drawn.signals / drawn.sigma[:, None]  # the noise is 1 in all of them
    truth = drawn.truth * (1, 1e-3, 1e-3)
    for name in ("scdnn", "mlp"):
        model = METHODS[name].load_adapting().adapt(scan.population, general_model(), Sights(), 0, launch)
        module = load_method(name)
        e = module.prepare(as_voxels(signals, scan.b), module.Options(sigma=1.0), launch, Inputs({"model": model})).fit(signals.astype(np.float32))  # fmt: skip
        spread = np.stack([e.fstd, e.dstd, e.dstarstd], axis=1)
        z = (truth - np.stack([e.f, e.D, e.Dstar], axis=1)) / spread
        for k, symbol in enumerate(("f", "D", "D*")):
            ranks = np.histogram(ndtr(z[:, k]), np.linspace(0, 1, 11))[0] / len(z) * 10
            record("learning_calibration", "Are the SDs of adapted networks right? 40,000 voxels of the population, drawn anew", **{
                "phantom": phantom, "method": name, "parameter": symbol, "50 % intervals hold": float(np.mean(np.abs(z[:, k]) < 0.6745)),
                "95 % intervals hold": float(np.mean(np.abs(z[:, k]) < 1.96)), "ranks, in tenths (1 each for a normal posterior)": listing(ranks)})  # fmt: skip


def bench_centre(folder, record):
    """The paper's second centre without its truth: S0 = 1 known, five b-values, SNR 45; three seeds."""
    test, launch = Tested(folder / "centre2.h5"), choose_device()
    with VoxelStore(folder / "centre2.h5") as store:
        population, _ = population_of(SelectedVoxels(store, FIVE), launch, Told(s0=1.0))
    module = load_method("scdnn")
    for seed in range(3):
        model = METHODS["scdnn"].load_adapting().adapt(population, general_model(), Sights(), seed, launch)
        voxels = as_voxels(test.signals[:, 1:], FIVE)
        e = module.prepare(voxels, module.Options(s0=1.0), launch, Inputs({"model": model})).fit(voxels.signals)
        record("learning_centre", "SCDNN adapted to the paper's second centre without truth: MSE over the smallest possible", seed=seed, **test.ratios(e))  # fmt: skip
    for name, e in {"bayes": fit_signals(test.signals[:, 1:], FIVE, "bayes", s0=1.0)}.items():
        record("learning_centre", "SCDNN adapted to the paper's second centre without truth: MSE over the smallest possible", seed=name, **test.ratios(e))  # fmt: skip
