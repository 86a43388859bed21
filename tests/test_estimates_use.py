"""What users do with estimates: curves, residuals, columns, NIfTI, words; and a mask for arrays in memory."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import ivimsc
from ivimsc.errors import InputError
from ivimsc.physics.parameters import PARAMETERS
from tests.conftest import TEN, equation1

SHAPE = (5, 4, 2)
BVALUES = np.concatenate([TEN, [0, 500]])  # repeats, not ascending
RANDOM = np.random.default_rng(3)
F, D, DSTAR = RANDOM.uniform(0.1, 0.4, SHAPE), RANDOM.uniform(0.8e-3, 2e-3, SHAPE), RANDOM.uniform(0.02, 0.06, SHAPE)
SIGNALS = equation1(np.full(SHAPE, 1000.0), F, D, DSTAR, BVALUES) + RANDOM.normal(0, 5, (*SHAPE, len(BVALUES)))
MASK = np.ones(SHAPE, int)
MASK[0], MASK[3, 1, 1] = 0, 0


@pytest.fixture(scope="module")
def found():
    return ivimsc.fit_signals(SIGNALS, BVALUES, mask=MASK)


def test_a_mask_leaves_voxels_out_and_changes_no_other(found):
    inside = MASK > 0
    some = ivimsc.fit_signals(SIGNALS[inside], BVALUES)
    for key, values in found.items():
        np.testing.assert_array_equal(values[inside], dict(some.items())[key])
        assert not values[~inside].any(), key


@pytest.mark.parametrize(("mask", "says"), [
    (np.ones((5, 4)), "mask: found shape (5, 4), expected (5, 4, 2)"),
    (np.zeros(SHAPE), "mask: found no voxel above 0"),
])  # fmt: skip
def test_masks_that_do_not_fit_are_refused(mask, says):
    with pytest.raises(InputError, match=re.escape(says)):
        ivimsc.fit_signals(SIGNALS, BVALUES, mask=mask)


def test_a_spectrum_has_empty_rows_outside_the_mask():
    spectrum = ivimsc.fit_signals(SIGNALS, BVALUES, "ista", mask=MASK).spectrum
    lengths = np.diff(spectrum.indptr).reshape(SHAPE)
    assert (lengths[MASK > 0] > 0).all() and not lengths[MASK == 0].any() and spectrum.indptr[-1] == len(spectrum.data)


def test_predictions_are_equation_1_and_residuals_what_is_left(found):
    b = np.array([0.0, 5, 700])
    expected = equation1(found.S0, found.f, found.D, found.Dstar, b)
    np.testing.assert_allclose(found.predict(b), expected, rtol=1e-12)
    left = found.residuals(SIGNALS)
    np.testing.assert_allclose(left, SIGNALS - equation1(found.S0, found.f, found.D, found.Dstar, BVALUES), atol=1e-9)
    means = np.stack([left[..., BVALUES == b].mean(-1) for b in TEN], axis=-1)
    inside = MASK > 0
    np.testing.assert_allclose(np.sqrt(np.mean(means**2, -1))[inside], found.rmse[inside], rtol=1e-3)  # of the means


def test_adc_predicts_one_exponential():
    found = ivimsc.fit_signals(SIGNALS, BVALUES, "adc")
    expected = found.S0[..., None] * np.exp(-found.D[..., None].astype(float) * np.array([0, 100.0]))
    np.testing.assert_allclose(found.predict([0, 100]), expected, rtol=1e-6)  # float32 estimates


def test_a_part_that_is_not_there_needs_no_rate(found):
    from dataclasses import replace

    none = np.zeros((1,))
    one = replace(found, S0=none + 2, f=none, D=none + 1e-3, Dstar=none * np.nan, outcome=np.ones(1, np.uint8))
    np.testing.assert_allclose(one.predict([1000.0]), [[2 * np.exp(-1)]])
    lost = replace(one, f=none + 0.3)
    assert np.isnan(lost.predict([1000.0])).all()  # there is a part, and nobody knows its rate


@pytest.mark.parametrize(("call", "says"), [
    (lambda e: e.predict([-1.0]), "bvalues: found [-1.0]"),
    (lambda e: e.residuals(SIGNALS[..., 1:]), "signals: found shape (5, 4, 2, 11), expected (5, 4, 2, 12)"),
    (lambda e: e.to_nifti("x", like=3), "like: found int"),
])  # fmt: skip
def test_bad_calls_are_refused_in_one_line(found, call, says):
    with pytest.raises(InputError, match=re.escape(says)):
        call(found)


def test_the_table_has_a_row_for_every_voxel_of_the_mask(found):
    columns = found.table()
    inside = MASK > 0
    assert {len(values) for values in columns.values()} == {inside.sum()}
    np.testing.assert_array_equal(np.stack([columns[name] for name in "ijk"], 1), np.argwhere(inside))
    np.testing.assert_array_equal(columns["dstar"], found.Dstar[inside])
    assert list(columns["meaning"]) == [ivimsc.Outcome(k).sentence for k in found.outcome[inside]]
    single = ivimsc.fit_signals(SIGNALS[1, 1, 1], BVALUES).table()
    assert single["f"].shape == single["meaning"].shape == (1,)


def test_maps_lie_where_like_lies_and_open_in_a_sensible_window(found, tmp_path):
    affine = np.array([[-2.0, 0, 0, 9], [0, 2, 0.5, 1], [0, -0.1, 5, 3], [0, 0, 0, 1]])
    image = nib.Nifti1Image(SIGNALS.astype(np.float32), affine)
    nib.save(image, tmp_path / "scan.nii.gz")
    paths = found.to_nifti(tmp_path / "a", like=tmp_path / "scan.nii.gz", stem="one")
    assert [path.name for path in paths][:2] == [
        f"one_model-ivim_desc-nlls_param-{key}_dwimap.nii.gz" for key in ("s0", "f")
    ]
    for path, (key, values) in zip(paths, found.items(), strict=False):
        read = nib.load(path)
        np.testing.assert_array_equal(np.asanyarray(read.dataobj), values)
        np.testing.assert_allclose(read.affine, affine, atol=1e-6)
        window = float(read.header["cal_min"]), float(read.header["cal_max"])
        expected = {"f": (0, 0.6), "d": (0, 3e-3), "dstar": (0, 0.12), "outcome": (0, 8)}.get(key)
        assert window == pytest.approx(expected or (0, np.percentile(values[MASK > 0], 99)), rel=1e-6), key
    found.to_nifti(tmp_path / "b", like=image)
    assert (tmp_path / "b" / paths[0].name.replace("one", "ivim", 1)).exists()
    with pytest.raises(InputError, match=r"like: found a volume of shape \(5, 4, 1\)"):
        found.to_nifti(tmp_path / "c", like=nib.Nifti1Image(np.zeros((5, 4, 1)), affine))
    with pytest.raises(InputError, match="existing file"):
        found.to_nifti(tmp_path / "b", like=image)


def test_words_say_what_is_in_it(found):
    said = repr(found)
    assert said.startswith("Estimates by nlls: 5 × 4 × 2 voxels, 12 b-values 0 to 500 s/mm²")
    inside = MASK > 0
    for p in PARAMETERS:
        assert (
            f"{np.median(getattr(found, p.code)[inside].astype(float)) * p.display_scale:.4g} {p.display_unit}" in said
        )
    assert f"{100 * np.mean(found.outcome[inside] == 1):.1f} % converged" in said
    assert "<table>" in found._repr_html_() and "nlls" in found._repr_html_()
    assert "one voxel" in repr(ivimsc.fit_signals(SIGNALS[1, 1, 1], BVALUES))


def test_examples_of_the_docs_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).resolve().parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    scope = {}
    for example in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(example, scope)
    assert (tmp_path / "voxel.png").read_bytes()[:4] == b"\x89PNG" and scope["curves"].shape == (8, 6, 2, 4)
