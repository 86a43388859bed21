"""What the bounds of the tables are computed from: noise levels, priors and signals."""

from types import SimpleNamespace

import numpy as np
import pytest

from ivimsc.compare.bound import Bound
from ivimsc.errors import InputError
from ivimsc.paper import runs as module
from ivimsc.paper.runs import Runs
from ivimsc.paper.setting import FIVE, NETWORKS, SNR, Setting
from ivimsc.phantoms.cohort import COHORTS
from ivimsc.simulate import write_phantom
from ivimsc.store import VoxelStore

TESTED = np.array([2, 5, 9, 11])


@pytest.fixture
def bounds(tmp_path, monkeypatch):
    """The bounds of cohort-3t on small stores, with a bound and a fit that answer at once and keep what they got."""
    asked = {"bound": [], "fit": []}

    def store(self, cohort, clean=False):
        path = tmp_path / f"{cohort}{clean}.h5"
        if not path.exists():
            write_phantom(path, "uniform", seed=len(cohort), noise="none" if clean else "rician", voxels=40)
        return path

    def smallest_error(signals, truth, bvalues, sigma, rician, s0_known, launch, seed):
        asked["bound"].append((signals, bvalues, sigma, rician, s0_known, seed))
        numbers = np.arange(12.0).reshape(4, 3) + 100 * seed
        return Bound(TESTED + seed, numbers * 1e-6, numbers * 1e-7, 90.0 - seed)

    def fit_signals(rows, bvalues, method, device, threads, **options):
        asked["fit"].append((rows, bvalues, method, options))
        n = np.arange(len(rows))
        return SimpleNamespace(f=0.1 + 0.01 * n, D=1e-3 + 1e-5 * n, Dstar=50e-3 + 1e-4 * n)

    monkeypatch.setattr(Runs, "store", store)
    monkeypatch.setattr(module, "smallest_error", smallest_error)
    monkeypatch.setattr(module, "fit_signals", fit_signals)
    runs = Runs(Setting(tmp_path, scale=0.02, threads=1), lambda _: None)
    return runs, {clean: runs.bounds("cohort-3t", clean, FIVE) for clean in (False, True)}, asked


def signals_of(runs, clean):
    with VoxelStore(runs.store("cohort-3t", clean)) as store:
        return store.read(0, 40)[:, np.isin(store.bvalues, FIVE)]


def test_the_bound_knows_the_noise_of_its_own_scans(bounds):
    runs, _, asked = bounds
    assert [call[5] for call in asked["bound"]] == [0, 1]  # the seeds of its chunks
    for signals, bvalues, sigma, rician, s0_known, _ in asked["bound"]:
        np.testing.assert_array_equal(signals, signals_of(runs, False))
        np.testing.assert_array_equal(bvalues, FIVE)
        assert (sigma, rician, s0_known) == (1 / SNR["cohort-3t"], True, True)


def test_a_perfect_network_knows_the_noise_and_the_prior_of_the_training_scans(bounds):
    runs, _, asked = bounds
    assert SNR["cohort-train"] != SNR["cohort-3t"]
    places = np.unique(np.r_[TESTED, TESTED + 1])
    assert len(asked["fit"]) == 2
    for (rows, bvalues, method, options), clean in zip(asked["fit"], (False, True), strict=True):
        np.testing.assert_array_equal(rows, signals_of(runs, clean)[places])
        np.testing.assert_array_equal(bvalues, FIVE)
        assert method == "bayes" and options["likelihood"] == "rician" and options["s0"] == 1
        assert options["sigma"] == 1 / SNR["cohort-train"]
        assert options["prior"] == str(runs.store("cohort-train"))


def test_chunks_are_joined_in_the_units_of_the_tables(bounds):
    runs, found, _ = bounds
    tested = np.r_[TESTED, TESTED + 1]
    numbers = np.concatenate([np.arange(12.0).reshape(4, 3) + 100 * seed for seed in (0, 1)])
    places, back = np.unique(tested, return_inverse=True)
    n = np.arange(len(places))
    best = np.stack([0.1 + 0.01 * n, 1 + 0.01 * n, 50 + 0.1 * n], axis=1)
    trained = ((best - runs.truth("cohort-3t")[places]) ** 2)[back]
    for clean, factor in ((False, 1e-6), (True, 1e-7)):
        np.testing.assert_array_equal(found[clean].tested, tested)
        np.testing.assert_allclose(found[clean].products, numbers * factor * (1, 1e6, 1e6), rtol=1e-12)
        np.testing.assert_allclose(found[clean].trained, trained, rtol=1e-9)
        assert found[clean].ess == 89


def test_stores_are_simulated_with_the_snr_and_the_seed_of_their_cohort(tmp_path):
    runs = Runs(Setting(tmp_path, scale=0.02, threads=1), lambda _: None)
    seeds = {}
    for cohort in COHORTS:
        for clean in (False, True):
            with VoxelStore(runs.store(cohort, clean)) as store:
                assert store.attrs["phantom"] == cohort and store.attrs["noise"] == ("none" if clean else "rician")
                assert store.attrs["sigma"] == (0 if clean else pytest.approx(1 / SNR[cohort]))
                seeds.setdefault(cohort, set()).add(store.attrs["seed"])
    assert all(len(found) == 1 for found in seeds.values())
    assert len(set.union(*seeds.values())) == 3  # no two cohorts share a draw


class TestDamagedRecords:
    """One line that names the file; nothing is done again unless the file is removed."""

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b'{"seconds": 1}', b'{"seconds": "x", "history": {}}',
                                         b'{"seconds": 1, "history": {"train": 3, "validation": []}}'])  # fmt: skip
    def test_of_a_training(self, tmp_path, content):
        runs = Runs(Setting(tmp_path, scale=0.02, threads=1), pytest.fail)
        net = NETWORKS[0]
        settings = {**net.options, **runs.setting.schedule()}
        folder = runs._folder("train", net.method, FIVE, settings, seed=0)
        (folder / "run.json").write_bytes(content)
        with pytest.raises(InputError, match=r"run.json: found a damaged record of a run \(\w+\), expected") as told:
            runs.train(net, FIVE, 0)
        assert "\n" not in str(told.value)

    @pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "pickle", "short", "missing"])
    def test_of_a_bound(self, bounds, damage):
        runs, _, _ = bounds
        (path,) = runs.setting.folder.glob("runs/*/bound.npz")
        whole = path.read_bytes()
        with np.load(path) as kept:
            arrays = dict(kept)
        if damage in ("pickle", "short", "missing"):
            arrays |= {"tested": np.array([{}])} if damage == "pickle" else {"tested": arrays["tested"][:3]}
            np.savez(path, **({k: v for k, v in arrays.items() if k != "ess"} if damage == "missing" else arrays))
        else:
            middle = len(whole) // 4
            flipped = whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :]
            path.write_bytes({"empty": b"", "cut": whole[:200], "flipped": flipped, "text": b"bound"}[damage])
        with pytest.raises(InputError, match=r"bound.npz: found a damaged record of a run") as told:
            runs.bounds("cohort-3t", False, FIVE)
        assert "\n" not in str(told.value)
