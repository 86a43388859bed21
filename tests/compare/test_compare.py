"""compare: numbers against numpy, the bound against brute force, and every refusal."""

import csv

import h5py
import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.compare import compare, write_comparison
from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import Launch
from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.voxels import Voxels
from tests.conftest import TEN, as_voxels, equation1

LAUNCH = Launch("cpu", 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A uniform phantom with two fits, and a measured store (no truth) with the same."""
    out = tmp_path_factory.mktemp("compare")
    write_phantom(out / "u.h5", "uniform", snr=30, seed=1, voxels=12_000)
    with VoxelStore(out / "u.h5") as store:
        measured = as_voxels(store.signals[:3000], store.bvalues)
        other = as_voxels(store.signals[:3000] * 2, store.bvalues)
    write_voxels(out / "m.h5", measured)
    write_voxels(out / "other.h5", other)
    for name in ("u", "m"):
        for method in ("segmented", "nlls"):
            fit_file(FitJob(out / f"{name}.h5", method, out, maps=False))
    return out


def run(folder, voxels, fits, **options):
    with VoxelStore(folder / voxels) as store:
        opened = [EstimateStore(folder / name) for name in fits]
        try:
            return compare(store, opened, LAUNCH, **options)
        finally:
            for fit in opened:
                fit.close()


def test_rows_equal_numpy(folder):
    found = run(folder, "u.h5", ["u_segmented.h5", "u_nlls.h5"], bound=False)
    with VoxelStore(folder / "u.h5") as store, EstimateStore(folder / "u_nlls.h5") as fit:
        true, estimate = store.truth["d"].astype(float) * 1e3, fit["d"].astype(float) * 1e3
    (row,) = [r for r in found.rows if (r.method, r.parameter) == ("nlls", "D")]
    error = estimate - true
    expected = (
        error.mean(),
        error.std(),
        np.sqrt(np.mean(error**2)),
        np.mean(error**2),
        1 - np.sum(error**2) / np.sum((true - true.mean()) ** 2),
    )
    np.testing.assert_allclose((row.bias, row.sd, row.rmse, row.mse, row.r2), expected, rtol=1e-9)
    assert np.isnan(row.ratio)
    assert sum(found.outcomes["nlls"].values()) == pytest.approx(1)
    (guess,) = [r for r in found.rows if (r.method, r.parameter) == ("constant guess", "D")]
    assert guess.mse == pytest.approx(true.var(), rel=1e-6)
    assert guess.r2 == pytest.approx(0, abs=1e-9)


def test_bound_stands_below_every_method(folder):
    found = run(folder, "u.h5", ["u_segmented.h5", "u_nlls.h5"])
    for parameter in ("f", "D", "D*"):
        rows = {r.method: r for r in found.rows if r.parameter == parameter}
        best = rows["smallest possible"]
        assert best.ratio == 1
        assert 0 < best.mse_error < 0.1 * best.mse
        for name, row in rows.items():
            if name not in ("smallest possible", "the same, noise-free signals"):
                assert row.mse > best.mse
                assert row.ratio == pytest.approx(row.mse / best.mse)
        assert rows["the same, noise-free signals"].mse < best.mse
    # measured once, by code apart from this: RMSE .037, .209, 15.0 with S0 known
    with VoxelStore(folder / "u.h5") as store:
        bound = smallest_error(store.signals[:], store.truth, store.bvalues, 1 / 30, True, True, LAUNCH)
    np.testing.assert_allclose(np.sqrt(bound.mean("noisy")[0]) * (1, 1e3, 1e3), (0.037, 0.209, 15.0), rtol=0.12)


def test_bound_has_no_share_of_the_draws_noise():
    """Few draws must not raise the bound: products of two halves against one posterior from very many draws."""
    random = np.random.default_rng(0)

    def draw(n):
        return (
            np.ones(n),
            random.uniform(0.05, 0.5, n),
            random.uniform(0.5e-3, 2.5e-3, n),
            random.uniform(10e-3, 100e-3, n),
        )

    def bound(n):
        values = draw(n)
        signals = equation1(*values, TEN)
        signals = (signals + random.normal(0, 1 / 80, signals.shape)).astype(np.float32)
        return smallest_error(
            signals, dict(zip(("s0", "f", "d", "dstar"), values, strict=True)), TEN, 1 / 80, False, True, LAUNCH
        )

    few, many = bound(6000), bound(60_000)
    (low, low_error), (high, high_error) = few.mean("noisy"), many.mean("noisy")
    assert np.all(np.abs(low - high) < 4 * np.hypot(low_error, high_error))
    assert few.ess < many.ess


def test_constant_tissues_have_no_error_left():
    """Where all voxels are alike, the prior knows the answer: the bound is 0."""
    n = 3000
    values = [np.full(n, v) for v in (1.0, 0.3, 1.5e-3, 40e-3)]
    signals = (equation1(*values, TEN) + np.random.default_rng(0).normal(0, 0.05, (n, 10))).astype(np.float32)
    bound = smallest_error(
        signals, dict(zip(("s0", "f", "d", "dstar"), values, strict=True)), TEN, 0.05, False, False, LAUNCH
    )
    assert np.all(bound.mean("noisy")[0] < 1e-12 * np.square((0.3, 1.5e-3, 40e-3)) * 1e3)  # float32


def test_agreement_without_truth(folder):
    found = run(folder, "m.h5", ["m_segmented.h5", "m_nlls.h5"])
    assert not found.rows
    with EstimateStore(folder / "m_segmented.h5") as a, EstimateStore(folder / "m_nlls.h5") as b:
        difference = (b["f"].astype(float) - a["f"]) * 100
    (row,) = [r for r in found.agreements if r.parameter == "f"]
    there = np.isfinite(difference)
    assert row.difference == pytest.approx(difference[there].mean(), rel=1e-6)
    assert row.upper - row.lower == pytest.approx(2 * 1.96 * difference[there].std(ddof=1), rel=1e-6)


def only_d(source, path):
    """The estimates of a store without f and D*, as a mono-exponential method has them."""
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "r+") as file:
        file.attrs["method"] = "mono"
        for key in ("f", "dstar", "fstd", "dstarstd"):
            file["estimates"].pop(key, None)


@pytest.mark.parametrize("name", ["u", "m"], ids=["with truth", "without"])
def test_a_method_without_f_and_dstar_is_compared_in_d(folder, tmp_path, name):
    only_d(folder / f"{name}_nlls.h5", tmp_path / "mono.h5")
    first, second = EstimateStore(folder / f"{name}_segmented.h5"), EstimateStore(tmp_path / "mono.h5")
    with VoxelStore(folder / f"{name}.h5") as store, first, second:
        found = compare(store, [first, second], LAUNCH, bound=False)
        written = write_comparison(store, [first, second], found, tmp_path / "out", name)
        difference = np.nanmean(second["d"].astype(float) - first["d"]) * 1e3
    rows = {m: [r.parameter for r in found.rows if r.method == m] for m in ("segmented", "mono")}
    assert rows == ({"segmented": ["f", "D", "D*"], "mono": ["D"]} if name == "u" else {"segmented": [], "mono": []})
    (row,) = found.agreements
    assert (row.parameter, row.second) == ("D", "mono")
    assert row.difference == pytest.approx(difference, rel=1e-6)
    assert tmp_path / "out" / f"{name}_compare_mono.png" in written


def test_voxels_without_a_number_are_counted(folder, tmp_path):
    with VoxelStore(folder / "u.h5") as store:
        signals, truth = store.signals[:3000], {k: v[:3000] for k, v in store.truth.items()}
        signals[:7] = np.nan
        base = as_voxels(signals, store.bvalues)
    write_voxels(tmp_path / "n.h5", Voxels(base.signals, base.bvalues, base.index, base.geometry, truth=truth))
    fit_file(FitJob(tmp_path / "n.h5", "segmented", tmp_path, maps=False))
    found = run(tmp_path, "n.h5", ["n_segmented.h5"])
    assert {r.missing for r in found.rows if r.method == "segmented"} == {7}
    assert any("no bounds" in note for note in found.notes)


def test_command_writes_table_and_figures(folder, tmp_path, capsys):
    files = [str(folder / name) for name in ("u.h5", "u_segmented.h5", "u_nlls.h5")]
    assert main(["compare", *files, "--out", str(tmp_path / "new")]) == 0
    assert "smallest possible" in capsys.readouterr().out
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == ["u_agreement.csv", "u_compare.csv", "u_compare_nlls.png", "u_compare_segmented.png"]
    with (tmp_path / "new" / "u_compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} >= {"nlls", "segmented", "constant guess", "smallest possible"}
    assert main(["compare", *files, "--out", str(tmp_path / "new")]) == 2
    assert "--force" in capsys.readouterr().err
    assert main(["compare", *files, "--out", str(tmp_path / "new"), "--force", "--no-bound"]) == 0


@pytest.mark.parametrize(("words", "told"), [
    (["other.h5", "m_nlls.h5"], "found estimates of other signals"),
    (["u.h5", "u_nlls.h5", "u_nlls.h5"], "twice"),
    (["missing.h5", "u_nlls.h5"], "missing.h5"),
    (["u_nlls.h5", "u_nlls.h5"], "u_nlls.h5"),
])  # fmt: skip
def test_bad_input_is_told_in_one_line(folder, tmp_path, capsys, words, told):
    assert main(["compare", *(str(folder / word) for word in words), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


def test_bound_refuses_no_noise():
    with pytest.raises(InputError, match="sigma"):
        smallest_error(np.ones((9, 10), np.float32), {}, TEN, 0.0, False, True, LAUNCH)
