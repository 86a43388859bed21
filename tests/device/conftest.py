"""Tests marked `gpu` are skipped where no GPU answers, with the reason."""

import pytest

from ivimsc.device.launch import find_gpus


def pytest_collection_modifyitems(items):
    marked = [item for item in items if item.get_closest_marker("gpu")]
    names, reason = find_gpus() if marked else ([], "")
    for item in marked:
        if not names:
            item.add_marker(pytest.mark.skip(reason=f"no GPU: {reason}"))
