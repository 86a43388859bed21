"""These tests are collected under Numba's CUDA simulator only: see ../test_simulator.py."""

from numba import config

collect_ignore_glob = [] if config.ENABLE_CUDASIM else ["test_*.py"]
