"""Every CUDA kernel under Numba's simulator: tests/device/simulated, in a process of its own.

The simulator has to be chosen before Numba is imported.
"""

import os
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "simulated"


def test_kernels_under_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER)]
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        command, cwd=FOLDER.parents[2], env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
