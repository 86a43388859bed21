"""Stores to compare: a uniform phantom, the same labelled by f, and measured voxels without truth, with their fits."""

import numpy as np
import pytest

from ivimsc.compare import compare
from ivimsc.device.launch import Launch
from ivimsc.fit import FitJob, fit_file
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore, write_voxels
from ivimsc.voxels import Voxels
from tests.conftest import as_voxels

LAUNCH = Launch("cpu", 2)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """u.h5: simulated; t.h5: the same with tissues 1 (f below 0.2) and 2; m.h5: measured; other.h5: other signals.

    Fits by segmented and nlls; u_known.h5: by nlls with S0 = 1 known, from five of the b-values.
    """
    out = tmp_path_factory.mktemp("compare")
    write_phantom(out / "u.h5", "uniform", snr=20, seed=1, voxels=6000)
    with VoxelStore(out / "u.h5") as store:
        measured = as_voxels(store.signals[:3000], store.bvalues)
        other = as_voxels(store.signals[:3000] * 2, store.bvalues)
        tissue = np.where(store.truth["f"] < 0.2, 1, 2).astype(np.uint8)
        labelled = Voxels(store.read(0, 6000), store.bvalues, store.index[:], store.geometry, truth=store.truth,
                          tissue=tissue, tissue_names={1: "low", 2: "high"}, attrs=store.attrs)  # fmt: skip
    write_voxels(out / "t.h5", labelled)
    write_voxels(out / "m.h5", measured)
    write_voxels(out / "other.h5", other)
    for name in ("u", "m"):
        for method in ("segmented", "nlls"):
            fit_file(FitJob(out / f"{name}.h5", method, out, maps=False))
    five = np.array([20, 50, 150, 300, 500.0])
    known = fit_file(FitJob(out / "u.h5", "nlls", out / "known", bvalues=five, maps=False, settings={"s0": 1.0}))
    known.store.rename(out / "u_known.h5")
    return out


def run(folder, voxels, fits, **options):
    """The comparison of stores by their names in `folder`."""
    with VoxelStore(folder / voxels) as store:
        opened = [EstimateStore(folder / name) for name in fits]
        try:
            return compare(store, opened, LAUNCH, **options)
        finally:
            for fit in opened:
                fit.close()
