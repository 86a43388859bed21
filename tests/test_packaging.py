"""What is built from this tree holds all of the package and nothing else; both image recipes take the same steps."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from ivimsc import __version__

ROOT = Path(__file__).parents[1]
KEPT = ("ivimsc", "data", "pyproject.toml", "setup.py", "setup.cfg", "README.md", "LICENSE")
INSIDE = (
    ".py",
    ".csv",
    ".md",
    ".js",
    ".css",
    ".html",
    ".gz",
    ".bval",
    ".bvec",
    ".json",
    ".safetensors",
    ".tsv",
    ".txt",
)
BUILD = "import setuptools.build_meta as build; build.build_wheel('dist'); build.build_sdist('dist')"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with a wheel and an sdist, built from a copy of the tree."""
    tree = tmp_path_factory.mktemp("build") / "tree"
    tree.mkdir()
    for name in KEPT:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    subprocess.run([sys.executable, "-c", BUILD], cwd=tree, check=True, capture_output=True, text=True)
    return tree / "dist"


def of_package():
    """The files that an installation needs, by their names in a wheel."""
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "ivimsc").rglob("*.py")}
    static = {
        str(p.relative_to(ROOT)) for p in (ROOT / "ivimsc").rglob("*") if p.is_file() and p.parent.name == "static"
    }
    data = (p for p in (ROOT / "data").rglob("*") if p.is_file() and p.parent.name in ("data", "placenta", "models"))
    return code | static | {f"ivimsc/{path.relative_to(ROOT)}" for path in data}


def test_the_wheel_holds_the_package_and_its_data(built):
    (wheel,) = built.glob("*.whl")
    assert wheel.name == f"ivimsc-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        about = file.read(f"ivimsc-{__version__}.dist-info/METADATA").decode()
        entry = file.read(f"ivimsc-{__version__}.dist-info/entry_points.txt").decode()
    assert names == {name for name in of_package() if name.endswith(INSIDE)} == of_package()
    assert "ivimsc = ivimsc.cli:main" in entry
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r"^Provides-Extra: (.+)$", about, re.M)) == set(project["optional-dependencies"])
    assert set(re.findall(r"^Classifier: (.+)$", about, re.M)) == set(project["classifiers"])
    assert f"\nVersion: {__version__}\n" in about and "\nRequires-Python: >=3.11\n" in about


def test_the_sdist_can_be_built_from(built):
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.split("/", 1)[1] for name in file.getnames() if "/" in name}
    for name in of_package():
        assert name.replace("ivimsc/data/", "data/") in names, name
    assert {"pyproject.toml", "setup.py", "LICENSE", "README.md"} <= names


class TestImages:
    image, recipe, steps = (
        (ROOT / "container" / name).read_text() for name in ("Containerfile", "ivimsc.def", "install.sh")
    )

    def test_both_recipes_take_the_steps_of_the_script(self):
        step = "sh /opt/ivimsc/container/install.sh /opt/ivimsc"
        assert f"\nRUN {step}\n" in self.image and f"\n    {step}\n" in self.recipe
        base = re.search(r"^FROM (\S+)$", self.image, re.M)[1]
        assert f"\nFrom: {base}\n" in self.recipe

    def test_kernels_are_for_the_same_processors_when_they_are_compiled_and_when_they_run(self):
        wanted = 'NUMBA_CPU_NAME=x86-64-v3 NUMBA_CPU_FEATURES=""'
        assert f"\nENV {wanted}\n" in self.image and self.recipe.count(f"export {wanted}") == 2

    def test_the_steps_are_commands_that_there_are(self):
        subprocess.run(["sh", "-n", ROOT / "container" / "install.sh"], check=True)
        from ivimsc.cli import app

        known = {command.name for command in app.registered_commands}
        assert set(re.findall(r"^ivimsc (\S+)$", self.steps, re.M)) == {"warm-up", "info"} <= known
        extras = re.search(r"\[([\w,]+)\]", self.steps)[1].split(",")
        assert set(extras) <= set(
            tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        )
