"""The paper's experiments, tiny: end to end, resumable run by run, and what the files hold."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")

import ivimsc.paper.pictures
import ivimsc.paper.runs
import ivimsc.paper.setting
import ivimsc.train
from ivimsc.errors import InputError
from ivimsc.paper import EXPERIMENTS, Setting, run_paper
from ivimsc.paper import curves as curves_module
from ivimsc.paper import learning as learning_module
from ivimsc.paper import tables as tables_module
from ivimsc.paper.printed import TABLE1
from ivimsc.paper.runs import Runs
from ivimsc.paper.setting import FIVE, NETWORKS, PROTOCOLS, Net, rivals

TINY = 0.02


@pytest.fixture(scope="module")
def tiny():
    """Short trainings of small networks, and fewer of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Setting, "schedule", lambda self: {"epochs": 2, "epoch_voxels": 1280, "warm_up": 0, "rate": 1e-3})
        nets = tuple(
            Net(n.method, n.title, {**n.options, **({"atoms": 20} if n.method == "scdnn" else {})}) for n in NETWORKS
        )
        for module in (tables_module, curves_module, ivimsc.paper.setting, ivimsc.paper.pictures):
            patch.setattr(module, "NETWORKS", nets)
        patch.setattr(learning_module, "LEARNERS", (nets[0], nets[-1]))
        patch.setattr(curves_module, "ATOMS", (20, 600))
        patch.setattr(learning_module, "FRACTIONS", (1.0, 0.1))
        patch.setattr(tables_module, "PROTOCOLS", PROTOCOLS[:2])
        yield


@pytest.fixture
def calls(monkeypatch):
    """Counts of trainings, fits and bounds."""
    counts = Counter()

    def counted(module, name):
        original = getattr(module, name)

        def wrapper(*args, **kwargs):
            counts[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, wrapper)

    counted(ivimsc.train, "train_file")
    counted(ivimsc.paper.runs, "fit_file")
    counted(ivimsc.paper.runs, "smallest_error")
    return counts


@pytest.fixture(scope="module")
def everything(tiny, tmp_path_factory):
    """All experiments at the smallest scale: setting, files, and what was said."""
    setting, said = Setting(tmp_path_factory.mktemp("paper"), scale=TINY, seeds=2, threads=1), []
    return setting, run_paper("all", setting, said.append), said


def read(path):
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


class TestEndToEnd:
    def test_every_experiment_writes_its_files(self, everything):
        setting, files, _ = everything
        for name in EXPERIMENTS:
            page = (setting.out / f"{name}.md").read_text(encoding="utf-8")
            assert page.startswith("# ") and f"`ivimsc paper {name} --scale 0.02 --seeds 2`" in page
            assert (setting.out / f"{name}.csv") in files
            pictures = sorted(setting.out.glob(f"{name}*.png"))
            assert pictures and all(p.read_bytes()[:4] == b"\x89PNG" for p in pictures)
        assert all(path.exists() for path in files)

    def test_table_1_has_its_rows_and_columns(self, everything):
        rows = read(everything[0].out / "table1.csv")
        columns = (
            "experiment row seed test parameter unit voxels missing mse r2 ratio ratio_error printed speed training"
        )
        assert list(rows[0]) == columns.split()
        names = list(dict.fromkeys(row["row"] for row in rows))
        assert names[: len(rivals())] == [rival.title for rival in rivals()]
        assert [name.split(" (")[0] for name in names[-3:]] == [
            "constant guess",
            "a perfect network",
            "smallest possible",
        ]
        for name in names:
            mine = [row for row in rows if row["row"] == name]
            seeds = {"0", "1"} if name in {net.title for net in NETWORKS} else {""}
            assert {row["seed"] for row in mine} == seeds
            assert {row["test"] for row in mine} == {"noisy", "noise-free"}
            assert {row["parameter"] for row in mine} == {"f", "D", "D*"}
        assert {float(row["printed"]) for row in rows if row["row"] == "MLP"} == set(TABLE1["MLP"])

    def test_no_method_is_better_than_the_bound(self, everything):
        """Noisy signals; 5 standard errors: the bound is a Monte-Carlo mean, and there are 60 comparisons."""
        for name in ("table1", "table2"):
            for row in read(everything[0].out / f"{name}.csv"):
                if row["test"] == "noisy":
                    assert float(row["ratio"]) > 1 - 5 * float(row["ratio_error"]) - 1e-9, row

    def test_least_squares_is_exact_without_noise(self, everything):
        rows = read(everything[0].out / "table1.csv")
        exact = [r for r in rows if r["row"].startswith("least squares") and r["test"] == "noise-free"]
        assert all(float(row["r2"]) > 0.999 for row in exact)

    def test_table_3_has_a_bound_for_each_protocol(self, everything):
        names = {row["row"] for row in read(everything[0].out / "table3.csv")}
        for start in ("SCDNN", "smallest possible"):
            assert {f"{start}, b = 20, 150, 500", f"{start}, b = 20, 50, 150, 300, 500"} <= names

    def test_curves_hold_every_epoch_and_size(self, everything):
        losses = read(everything[0].out / "fig2.csv")
        assert {row["epoch"] for row in losses} == {"1", "2"} and len(losses) == 2 * 2 * len(NETWORKS)
        assert {row["atoms"] for row in read(everything[0].out / "fig4.csv")} == {"20", "600"}

    def test_what_is_there_is_not_made_again(self, everything, calls):
        setting, _, _ = everything
        said = []
        assert run_paper("all", setting, said.append) == [] and not calls
        assert len(said) == len(EXPERIMENTS) and all("force" in line for line in said)

    def test_results_of_another_setting_are_refused(self, everything):
        other = Setting(everything[0].out, scale=TINY, seeds=1)
        with pytest.raises(
            InputError, match="another scale or number of seeds, expected none: .*force.* overwrites it"
        ):
            run_paper("fig2", other)

    def test_only_what_was_deleted_is_done_again(self, everything, calls):
        setting, _, _ = everything
        before = read(setting.out / "table1.csv")
        runs = setting.folder / "runs"
        shutil.rmtree(next(runs.glob("train_mlp_seed1_*")))
        shutil.rmtree(next(runs.glob("fit_nlls_cohort-test_5b_*")))
        shutil.rmtree(next(runs.glob("bound_cohort-test_5b_*")))
        (setting.out / "table1.md").unlink()
        run_paper("table1", setting, lambda _: None)
        assert calls["train_file"] == 1 and calls["fit_file"] == 1 and calls["smallest_error"] > 0
        for old, new in zip(before, read(setting.out / "table1.csv"), strict=True):
            for name in set(old) - {"speed", "training"}:  # the same numbers: all draws are keyed
                assert old[name] == new[name], (name, old["row"])

    def test_force_makes_the_page_again_from_its_runs(self, everything, calls):
        setting = Setting(everything[0].out, scale=TINY, seeds=2, threads=1, force=True)
        assert run_paper("fig2", setting, lambda _: None) and not calls


def test_a_run_that_was_stopped_goes_on_where_it_was(tiny, calls, tmp_path, monkeypatch):
    setting = Setting(tmp_path, scale=TINY, seeds=1, threads=1)
    original, stop = ivimsc.train.train_file, 2

    def stopped(job, *report):
        if calls["train_file"] == stop:
            raise KeyboardInterrupt
        return original(job, *report)

    with monkeypatch.context() as patch:
        patch.setattr(ivimsc.train, "train_file", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_paper("fig2", setting, lambda _: None)
    assert not list(tmp_path.glob("fig2*"))
    run_paper("fig2", setting, lambda _: None)
    assert calls["train_file"] == len(NETWORKS)


def test_networks_are_trained_on_the_training_scans_alone(tiny, tmp_path):
    runs = Runs(Setting(tmp_path, scale=TINY, seeds=1, threads=1), lambda _: None)
    from ivimsc.models import read_model

    model = read_model(runs.train(NETWORKS[0], FIVE, 0).path)
    assert model.about["training"]["stores"] == [runs.store("cohort-train").name]
    np.testing.assert_array_equal(model.bvalues, FIVE)
