"""Packages are found, so that a new method needs no line here; `data/` goes along as `ivimsc.data`. The rest: pyproject.toml."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["ivimsc", "ivimsc.*"]), "ivimsc.data"])
