"""A small series, its files, and the command line run in this process."""

import nibabel as nib
import numpy as np
import pytest

from ivimsc.cli import main
from tests.compare.conftest import folder  # noqa: F401, the stores that `compare` is tried on
from tests.conftest import TEN, phantom

SHAPE = (12, 10, 4)


class Run:
    """ivimsc(*words): exit code; `.out` and `.err` hold what it printed."""

    def __init__(self, capfd):
        self._capfd = capfd

    def __call__(self, *words):
        self._capfd.readouterr()
        code = main([str(word) for word in words])
        self.out, self.err = self._capfd.readouterr()
        return code

    @property
    def error(self):
        """The one line on stderr that an error is allowed."""
        lines = [line for line in self.err.splitlines() if line.startswith("ivimsc: error: ")]
        others = [line for line in self.err.splitlines() if not line.startswith("ivimsc: error: ")]
        assert len(lines) == 1, self.err
        assert not [line for line in others if not line.startswith("fit ")], self.err
        return lines[0]


@pytest.fixture
def ivimsc(capfd):
    return Run(capfd)


@pytest.fixture
def series(tmp_path):
    """A 12 × 10 × 4 × 10 series at SNR 50 with an oblique affine, its .bval and a mask: a folder with the three files."""
    p = phantom(int(np.prod(SHAPE)), TEN, 50)
    affine = np.array([[1.2, 0.2, 0, -10], [-0.2, 1.2, 0.1, 5], [0, -0.1, 4, 30], [0, 0, 0, 1.0]])
    data = (p.signals.reshape(*SHAPE, 10) * 1000).astype(np.int16)
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "scan_dwi.nii.gz")
    (tmp_path / "scan.bval").write_text(" ".join(f"{b:g}" for b in TEN) + "\n")
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:10, 2:8, 1:3] = 1
    nib.save(nib.Nifti1Image(mask, affine), tmp_path / "mask.nii.gz")
    return tmp_path


@pytest.fixture
def truncate():
    def cut(path, keep=0.5):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])

    return cut


@pytest.fixture
def refused(ivimsc, tmp_path):
    """refused(*words, says=…): exit code 2, one line with these parts, and not a file more or less than before."""

    def check(*words, says):
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        assert ivimsc(*words) == 2
        for part in [says] if isinstance(says, str) else says:
            assert part in ivimsc.error, ivimsc.error
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before

    return check
