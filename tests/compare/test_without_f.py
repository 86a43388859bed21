"""The comparison of a method that does not fit f and D* with one that does."""

import numpy as np
import pytest

from ivimsc.compare import compare, write_comparison
from ivimsc.store import EstimateStore, VoxelStore
from tests.compare.conftest import LAUNCH
from tests.store.makers import changed_store


def only_d(source, path):
    """The estimates of a store without f and D*, as a mono-exponential method has them."""
    path.write_bytes(source.read_bytes())
    with changed_store(path) as file:
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
