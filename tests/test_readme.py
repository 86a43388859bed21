"""The README keeps its word: its example runs, its tables hold what the code says."""

import re
from pathlib import Path

import numpy as np

from ivimsc.cli import app
from ivimsc.methods import METHODS
from ivimsc.outcome import Outcome
from ivimsc.store import write_voxels
from tests.conftest import TEN, as_voxels, phantom

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_voxels(tmp_path / "voxels.h5", as_voxels(phantom(1200).signals, TEN))
    scope = {}
    exec(re.search(r"```python\n(.*?)```", README, re.S)[1], scope)
    np.testing.assert_allclose(scope["estimates"].f, [0.1, 0.3], atol=1e-4)
    assert scope["first"].f.shape == (1000,)


def test_every_outcome_method_and_command_is_in_its_table():
    for outcome in Outcome:
        assert f"| {outcome.value} | {outcome.sentence}" in README, outcome
    for method in METHODS:
        assert f"| `{method}` |" in README, method
    for command in app.registered_commands:
        assert f"| `ivimsc {command.name}" in README, command.name


def test_files_that_the_readme_links_to_exist():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
