"""These tests are collected under Numba's CUDA simulator only: see ../test_simulator.py."""

import sys

from numba import config

collect_ignore_glob = [] if config.ENABLE_CUDASIM else ["test_*.py"]

if config.ENABLE_CUDASIM:  # its scheduler polls in a busy loop: at the usual 5 ms every barrier waits for it
    sys.setswitchinterval(1e-4)
