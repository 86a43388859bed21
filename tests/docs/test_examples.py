"""The Python examples of the documentation run, page by page, in a folder with the files that they name.

Those of README.md, python.md, extending.md and start.md run in `tests/test_readme.py`, `tests/test_estimates_use.py`,
`test_extending.py` and `test_start.py`, which look at their results too.
"""

import doctest
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ivimsc
from ivimsc.nifti import write_bval, write_volume
from ivimsc.simulate import simulate_phantom

DOCS = Path(__file__).resolve().parents[2] / "docs"
ELSEWHERE = {"python.md", "extending.md", "start.md"}


def examples(page):
    """The fenced blocks of Python of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


PAGES = [page for page in sorted(DOCS.glob("*.md")) if page.name not in ELSEWHERE and examples(page)]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """scan.nii.gz, scan.bval, mask.nii.gz and curves.csv, small."""
    folder = tmp_path_factory.mktemp("world")
    phantom = simulate_phantom("placenta", snr=60, seed=2, shape=(20, 16, 4))
    volume = np.zeros((*phantom.geometry.shape, len(phantom.bvalues)), np.float32)
    volume[tuple(phantom.index.T)] = phantom.signals
    write_volume(folder / "scan.nii.gz", volume, phantom.geometry)
    write_volume(folder / "mask.nii.gz", (volume[..., 0] > 0).astype(np.uint8), phantom.geometry)
    write_bval(folder / "scan.bval", phantom.bvalues)
    rows = [";".join(["region", *(f"{b:g}" for b in phantom.bvalues)])]
    rows += [";".join([f"r{k}", *(f"{1000 * y:.1f}" for y in phantom.signals[400 * k])]) for k in range(2)]
    (folder / "curves.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def folder(world, tmp_path, monkeypatch):
    """A folder of its own with links to the files of the world."""
    for path in world.iterdir():
        (tmp_path / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page, folder):
    scope = {}
    for block in examples(page):
        for module in re.findall(r"^(?:import|from) (\w+)", block, re.M):
            if module not in sys.stdlib_module_names:
                pytest.importorskip(
                    module, reason=f"{page.name} shows how to work with {module}, which is not installed"
                )
        exec(compile(block, page.name, "exec"), scope)


def test_the_store_of_the_page_is_what_it_says(folder):
    """docs/stores.md: 72 voxels, 7 b-values of which b = 0 counts twice; and a store by h5py alone."""
    for block in examples(DOCS / "stores.md"):
        exec(block, {})
    with ivimsc.VoxelStore("scan.h5") as store:
        assert len(store) == 6 * 4 * 3 and store.weights.tolist() == [2, 1, 1, 1, 1, 1, 1]
        np.testing.assert_array_equal(store.geometry.affine, np.diag([2.5, 2.5, 5, 1]))
    with ivimsc.VoxelStore("foreign.h5") as store:
        np.testing.assert_array_equal(store.read(0, 2), [[1000, 870, 610, 330], [900, 840, 700, 480]])
        assert (
            store.index[:].tolist() == [[3, 2, 0], [4, 2, 0]] and store.verify()
        )  # no checksum but that of the signals
    with open("foreign.h5", "r+b") as file:  # one changed signal is told by signals_sha256
        data = file.read()
        at = data.index(np.float32(870).tobytes())
        file.seek(at)
        file.write(np.float32(871).tobytes())
    with (
        ivimsc.VoxelStore("foreign.h5") as store,
        pytest.raises(ivimsc.InputError, match="do not agree with their checksum"),
    ):
        store.read(0, 2)


@pytest.mark.parametrize("documented", [ivimsc.fit_signals, ivimsc.VoxelStore.write], ids=lambda f: f.__qualname__)
def test_the_examples_of_docstrings_say_what_comes_out(documented, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (found,) = (test for test in doctest.DocTestFinder().find(documented, documented.__name__) if test.examples)
    assert doctest.DocTestRunner().run(found).failed == 0 < len(found.examples)
