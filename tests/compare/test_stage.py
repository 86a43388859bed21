"""The stages of a comparison: what is compared with what, over which voxels, and in which unit."""

import numpy as np
import pytest

from ivimsc.compare.bound import smallest_error
from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.physics.cramer_rao import cramer_rao
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.voxels import Voxels
from tests.compare.conftest import LAUNCH, run
from tests.conftest import FIVE, as_voxels

SCALES = {"f": 100, "D": 1e3, "D*": 1e3}  # %, µm²/ms


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


class TestBoundRows:
    """Rows of a bound are those of the voxels, the noise, the b-values and the knowledge of each fit."""

    SEED = 3

    @pytest.fixture(scope="class")
    @staticmethod
    def rows(folder):
        found = run(folder, "t.h5", ["u_nlls.h5", "u_known.h5"], seed=TestBoundRows.SEED)
        return {(r.tissue, r.method, r.parameter): r for r in found.rows}, found.notes

    @pytest.fixture(scope="class")
    @staticmethod
    def truth(folder):
        with VoxelStore(folder / "t.h5") as store:
            return dict(store.truth), store.tissue

    @pytest.mark.parametrize(("number", "known"), [(1, False), (2, True)], ids=["S0 unknown", "S0 known"])
    def test_the_smallest_possible_error(self, folder, rows, truth, number, known):
        values, tissue = truth
        with VoxelStore(folder / "t.h5") as store:
            columns = np.flatnonzero(np.isin(store.bvalues, FIVE)) if known else np.arange(len(store.bvalues))
            signals, b, sigma = store.read(0, len(store))[:, columns], store.bvalues[columns], store.attrs["sigma"]
        assert sigma == pytest.approx(1 / 20)
        bound = smallest_error(signals, values, b, sigma, True, known, LAUNCH, self.SEED)
        for name, inside in (("all", tissue > 0), ("low", tissue == 1), ("high", tissue == 2)):
            for field, row in (("noisy", "smallest possible"), ("noise_free", "the same, noise-free signals")):
                mse, error = bound.mean(field, inside)
                for p, (parameter, scale) in enumerate(SCALES.items()):
                    found = rows[0][name, f"{row} [{number}]", parameter]
                    assert found.mse == pytest.approx(mse[p] * scale**2, rel=1e-9)
                    assert found.mse_error == pytest.approx(error[p] * scale**2, rel=1e-9)
                    assert found.voxels == inside.sum()

    @pytest.mark.parametrize(("number", "known"), [(1, False), (2, True)], ids=["S0 unknown", "S0 known"])
    def test_cramer_rao_is_the_mean_variance_of_the_tissue(self, folder, rows, truth, number, known):
        values, tissue = truth
        with VoxelStore(folder / "t.h5") as store:
            b = FIVE if known else store.bvalues
        for name, inside in (("all", tissue > 0), ("low", tissue == 1)):
            deviations = cramer_rao(*(values[key][inside] for key in ("s0", "f", "d", "dstar")), b, 1 / 20, known)
            for p, (parameter, scale) in enumerate(SCALES.items()):
                expected = np.mean(deviations[:, p + 1] ** 2) * scale**2
                found = rows[0][name, f"Cramér-Rao bound [{number}]", parameter]
                assert found.mse == pytest.approx(expected, rel=1e-9)
                assert found.rmse == pytest.approx(np.sqrt(expected), rel=1e-9)

    def test_ratios_are_to_the_bound_of_the_same_kind(self, rows):
        for method, number in (("u_nlls", 1), ("u_known", 2)):
            for parameter in SCALES:
                best = rows[0]["low", f"smallest possible [{number}]", parameter]
                found = rows[0]["low", method, parameter]
                assert found.ratio == pytest.approx(found.mse / best.mse)

    def test_what_each_bound_knows_is_told(self, rows):
        said = " ".join(rows[1])
        assert "S0 unknown, b = 0, 10, 20" in said and "S0 known, b = 20, 50, 150, 300, 500" in said


def test_agreement_without_truth(folder):
    found = run(folder, "m.h5", ["m_segmented.h5", "m_nlls.h5"])
    assert not found.rows
    with EstimateStore(folder / "m_segmented.h5") as a, EstimateStore(folder / "m_nlls.h5") as b:
        difference = (b["f"].astype(float) - a["f"]) * 100
    (row,) = [r for r in found.agreements if r.parameter == "f"]
    there = np.isfinite(difference)
    assert row.difference == pytest.approx(difference[there].mean(), rel=1e-6)
    assert row.upper - row.lower == pytest.approx(2 * 1.96 * difference[there].std(ddof=1), rel=1e-6)


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


@pytest.mark.parametrize(("voxels", "fits", "told"), [
    ("other.h5", ["m_nlls.h5"], "found estimates of other signals"),
    ("u.h5", ["u_nlls.h5", "u_nlls.h5"], "twice"),
    ("u.h5", [], "found no estimate store"),
])  # fmt: skip
def test_fits_that_do_not_belong_are_refused(folder, voxels, fits, told):
    with pytest.raises(InputError, match=told):
        run(folder, voxels, fits)
