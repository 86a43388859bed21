"""The import contracts of setup.cfg hold, and what must start fast imports nothing heavy."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_import_contracts_hold():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--config", "setup.cfg", "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("statement", ["import ivimsc", "import ivimsc.cli"])
def test_starting_up_imports_nothing_heavy(statement):
    code = f"{statement}; import sys; print(sorted({{'numba', 'numpy', 'scipy', 'h5py', 'nibabel', 'matplotlib', 'torch'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
