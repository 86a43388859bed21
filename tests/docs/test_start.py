"""docs/start.md: its commands run as they stand, and what it says of its scan is so."""

import re
import shlex

import numpy as np
import pytest

from ivimsc.cli import main
from ivimsc.nifti import write_bval, write_volume
from ivimsc.simulate import simulate_phantom
from tests.docs.test_examples import DOCS, examples

PAGE = (DOCS / "start.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    ivimsc (.*)$", PAGE, re.M)


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A small scan under the names of the page."""
    monkeypatch.chdir(tmp_path)
    phantom = simulate_phantom("placenta", snr=60, seed=2, shape=(14, 12, 2))
    volume = np.zeros((*phantom.geometry.shape, len(phantom.bvalues)), np.float32)
    volume[tuple(phantom.index.T)] = 1000 * phantom.signals
    write_volume("cord.nii.gz", volume, phantom.geometry)
    write_volume("mask.nii.gz", (volume[..., 0] > 0).astype(np.uint8), phantom.geometry)
    write_bval("cord.bval", phantom.bvalues)
    return tmp_path


def test_its_commands_and_its_example_run(small, capsys):
    assert len(COMMANDS) == 3
    assert [main(shlex.split(command)) for command in COMMANDS] == [0, 0, 0]
    assert (small / "cord.html").stat().st_size > 10_000
    capsys.readouterr()
    exec(examples(DOCS / "start.md")[0], {})
    assert re.fullmatch(r"nlls \d+ voxels; mean f of the converged ones 0\.\d\d\n", capsys.readouterr().out)


def test_what_is_printed_for_the_public_scan_is_on_the_page(real_data, tmp_path, monkeypatch, capsys):
    folder = real_data / "levy_spinalcord_7T"
    for name, source in {"cord.nii.gz": "dwi_RL_registered.nii.gz", "cord.bval": "dwi_RL_registered.bval", "mask.nii.gz": "mask_cord_dilated.nii.gz"}.items():  # fmt: skip
        (tmp_path / name).symlink_to(folder / source)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(COMMANDS[0])) == 0
    for line in capsys.readouterr().out.splitlines():
        if not re.search(r"voxels/s|threads?, b = ", line):  # speed and threads are those of the machine
            assert line in PAGE, line
