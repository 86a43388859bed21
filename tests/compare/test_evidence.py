"""The evidence for models: criteria against their formulas, choices against the truth and the best possible, files."""

import csv

import nibabel as nib
import numpy as np
import pytest
from scipy.stats import chi2

from ivimsc.compare import compare, write_comparison
from ivimsc.compare.evidence import CODES, NONE, criteria, support
from ivimsc.device.launch import choose_device
from ivimsc.fit import FitJob, fit_file
from ivimsc.physics.models import MODELS
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore

B = (0, 5, 10, 20, 40, 80, 150, 200, 400, 600, 800, 1000, 1300)


def test_criteria_are_their_formulas():
    squares = np.array([[4.0, 1.0], [3.0, np.inf]])
    aicc, bic, refused = criteria(squares, 10, [2, 4], 0.5)
    np.testing.assert_allclose(aicc, [[20, 8], [20, np.inf]])
    np.testing.assert_allclose(bic[0], [16 + 2 * np.log(10), 4 + 2 * np.log(10)])
    assert refused[0].tolist() == [16 > chi2.isf(1e-4, 8), False] and refused[1, 1]
    aicc, bic, refused = criteria(squares, 10, [2, 4], 0.0)
    assert aicc[0, 0] == pytest.approx(10 * np.log(0.4) + 6 + 2 * 3 * 4 / 6)
    assert bic[1, 0] == pytest.approx(10 * np.log(0.3) + 5 * np.log(10)) and not refused.any()


def test_the_support_is_the_least_of_what_is_not_refused():
    criterion = np.array([[1.0, 1.0, 1.0, np.inf], [2.0, 2.0, 2.0, np.inf]])
    refused = np.array([[False, True, True, False], [False, False, True, False]])
    assert support(["mono", "biexp"], criterion, refused).tolist() == [1, 2, NONE, 0]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """A mixture of mono and biexp and the fits of both."""
    folder = tmp_path_factory.mktemp("evidence")
    write_phantom(folder / "v.h5", "uniform", B, snr=60, seed=2, noise="gaussian", voxels=2000, model="mixture")
    fits = [fit_file(FitJob(folder / "v.h5", method, folder, device="cpu", maps=False)).store for method in ("adc", "nlls", "segmented")]  # fmt: skip
    return folder, fits


def test_one_exponential_and_two_are_told_apart_and_files_say_so(stores):
    folder, fits = stores
    with VoxelStore(folder / "v.h5") as v:
        opened = [EstimateStore(path) for path in fits]
        found = compare(v, opened, choose_device("cpu", 1))
        written = write_comparison(v, opened, found, folder / "out", "v")
        mono, biexp = v.tissue == 1, v.tissue == 2
        supported, names = found.evidence.supported, {path.name for path in written}
        assert np.mean(supported[mono] == 1) > 0.9  # BIC: exp(-χ²(2) / 2 > ln 13) leaves 8 % at most
        assert np.mean(supported[biexp] == 2) > 0.9
        assert any("segmented is left out" in note for note in found.notes)
        assert {"v_evidence.csv", "v_desc-support_dseg.nii.gz", "v_desc-support_dseg.tsv", "v_support.png"} <= names
        volume = np.asarray(nib.load(folder / "out" / "v_desc-support_dseg.nii.gz").dataobj)
        np.testing.assert_array_equal(volume[tuple(v.index[:].T)], supported)
    rows = list(csv.DictReader((folder / "out" / "v_evidence.csv").open()))
    of_mono = {row["model"]: float(row["supported"]) for row in rows if row["tissue"] == "mono"}
    assert of_mono["mono"] > 0.9 and set(of_mono) == {"mono", "biexp", CODES[NONE]}
    assert list(MODELS) == [CODES[k] for k in range(1, 5)]


def test_the_noise_that_residuals_tell_is_that_of_the_store(stores):
    folder, fits = stores
    from ivimsc.compare.evidence import Candidate, _sigma, _squares

    with VoxelStore(folder / "v.h5") as v, EstimateStore(fits[1]) as fit:
        squares = _squares(v, Candidate("nlls", fit, MODELS["biexp"], 4), slice(0, len(v)))[None]
        np.testing.assert_allclose(np.sqrt(squares[0] / len(B)), fit["rmse"], rtol=1e-3, atol=1e-6)
        v.attrs.pop("sigma")
        level, told = _sigma(v, squares, [4], None)
    assert (
        level == pytest.approx(1 / 60, rel=0.08) and "from the residuals" in told
    )  # kurtosis and three pools add to it
