"""Voxels and fits whose numbers are known, small enough to be made in milliseconds."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from ivimsc.estimates import Estimates, Spectrum
from ivimsc.nifti import read_series
from ivimsc.store import PartFile, StoredDictionary, write_voxels
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import TEN, equation1

SHAPE = (9, 7, 4)
# stored from right to left and from back to front, as many files are, and tilted by a few degrees
AFFINE = np.array([[-2.0, 0, 0.1, 8], [0, 2.5, 0.2, -9], [0.1, 0.2, 5, -12], [0, 0, 0, 1]])
GEOMETRY = Geometry(SHAPE, AFFINE, sform=AFFINE, sform_code=1, zooms=(2.0, 2.5, 5.0))
NASTY = '<script>alert("x")</script> & $$x$$'
SIGMA = 0.02


def write_fit(path, voxels, method, estimates, options=None, dictionary=None):
    """An estimate store with these estimates."""
    with PartFile.open(path, PartFile.header(voxels, method, options or {})) as part:
        part.append(estimates)
        return part.finish(voxels, device="cpu", threads=2, seconds=1.5, notes=["a note <i>"], dictionary=dictionary)


def known_estimates(n, seed, mono=False, spectrum=None):
    """Estimates of n voxels; outcome 4 in every fifth, 2 in the first."""
    draw = np.random.default_rng(seed)
    f, D, Dstar = draw.uniform(0.05, 0.5, n), draw.uniform(0.5e-3, 2.5e-3, n), draw.uniform(10e-3, 100e-3, n)
    outcome = np.where(np.arange(n) % 5 == 4, 4, 1).astype(np.uint8)
    outcome[0] = 2
    S0, rmse = draw.uniform(0.8, 1.2, n), draw.uniform(0.01, 0.02, n)
    found = {
        "S0": S0,
        "f": f,
        "D": D,
        "Dstar": Dstar,
        "rmse": rmse,
        "fstd": f / 7,
        "dstd": D / 9,
        "dstarstd": Dstar / 3,
    }
    found = {key: values.astype(np.float32) for key, values in found.items()}
    if mono:
        found |= {"f": None, "Dstar": None, "fstd": None, "dstarstd": None}
        outcome[outcome == 4] = 1
    return Estimates(**found, outcome=outcome, spectrum=spectrum)


def sparse_rows(n):
    """Voxel v has v % 3 + 1 atoms, from atom v % 4 on; their shares grow as 1, 2, 3."""
    counts = np.arange(n) % 3 + 1
    data = np.concatenate([np.arange(1, k + 1) for k in counts]).astype(np.float32)
    indices = np.concatenate([np.arange(k) + v % 4 for v, k in enumerate(counts)]).astype(np.int32)
    return Spectrum(data, indices, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A labelled voxel store of known truth, and fits of it by three methods: paths and numbers."""
    folder = tmp_path_factory.mktemp("report")
    inside = np.zeros(SHAPE, bool)
    inside[1:8, 1:6, 1:4] = True
    inside[4, 3, 2] = False
    index = np.argwhere(inside.T)[:, ::-1].astype(np.int32)  # x fastest
    n = len(index)
    draw = np.random.default_rng(0)
    truth = known_estimates(n, 1)
    clean = equation1(truth.S0, truth.f, truth.D, truth.Dstar, TEN)
    signals = (clean + draw.normal(0, SIGMA, clean.shape)).astype(np.float32)
    voxels = Voxels(
        signals, TEN, index, GEOMETRY, "scan<b>.nii.gz", "ab12",
        truth={"s0": truth.S0, "f": truth.f, "d": truth.D, "dstar": truth.Dstar},
        tissue=np.where(index[:, 0] < 4, 1, 2).astype(np.uint8), tissue_names={1: "core", 2: NASTY},
    )  # fmt: skip
    store = write_voxels(folder / "scan.h5", voxels)
    fits = {"nlls": known_estimates(n, 2), "adc": known_estimates(n, 3, mono=True)}
    fits["ista"] = known_estimates(n, 4, spectrum=sparse_rows(n))
    dictionary = StoredDictionary(np.array([1e-3, 2e-3, 3e-3]), np.array([10e-3, 50e-3, 100e-3]))
    paths = [
        write_fit(folder / f"scan_{name}.h5", voxels, name, fit, {"sigma": 0.5} if name == "nlls" else {}, dictionary if name == "ista" else None)
        for name, fit in fits.items()
    ]  # fmt: skip
    return SimpleNamespace(folder=folder, store=store, paths=paths, voxels=voxels, fits=fits, truth=truth)


@pytest.fixture(scope="session")
def repeated_series(tmp_path_factory):
    """A series of 24 images, three of each b-value, whose image 13 was shifted; its mask, labels and fit."""
    folder = tmp_path_factory.mktemp("series")
    bvalues = np.repeat(TEN[:8], 3)
    order = np.random.default_rng(5).permutation(len(bvalues))
    bvalues = bvalues[order]
    estimates = known_estimates(int(np.prod(SHAPE)), 6)
    clean = 1000 * equation1(estimates.S0, estimates.f, estimates.D, estimates.Dstar, bvalues)
    images = (clean + np.random.default_rng(7).normal(0, 20, clean.shape)).reshape(*SHAPE, -1)
    images[..., 13] = np.roll(images[..., 13], 2, axis=0)
    nib.save(nib.Nifti1Image(images.astype(np.float32), AFFINE), folder / "scan.nii.gz")
    (folder / "scan.bval").write_text(" ".join(f"{b:g}" for b in bvalues))
    mask, labels = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.int16)
    mask[:, :, 1:3] = 1
    labels[:5], labels[5:, 3:] = 3, 7
    nib.save(nib.Nifti1Image(mask, AFFINE), folder / "mask.nii.gz")
    nib.save(nib.Nifti1Image(labels, AFFINE), folder / "labels.nii.gz")
    nib.save(nib.Nifti1Image(labels[:-1], AFFINE), folder / "other_labels.nii.gz")
    voxels = read_series(folder / "scan.nii.gz", folder / "scan.bval", mask=folder / "mask.nii.gz")
    rows = mask.reshape(-1)[np.ravel_multi_index(tuple(voxels.index.T), SHAPE)] > 0
    assert rows.all()
    at = np.ravel_multi_index(tuple(voxels.index.T), SHAPE)
    scaled = {key: getattr(estimates, key)[at] for key in ("f", "D", "Dstar", "outcome")}
    fit = Estimates(S0=1000 * estimates.S0[at], rmse=np.full(len(at), 20, np.float32), **scaled)
    path = write_fit(folder / "scan_nlls.h5", voxels, "nlls", fit)
    return SimpleNamespace(folder=folder, path=path, voxels=voxels, fit=fit, bvalues=bvalues, images=images)
