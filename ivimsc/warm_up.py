"""All kernels compiled ahead, for images and installations that are read-only later: every method is run once on a small phantom."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ivimsc.compiling.cache import cache_folder
from ivimsc.compiling.clock import CompileClock
from ivimsc.device.launch import choose_device
from ivimsc.fit import FitJob, fit_file

__all__ = ["WarmedUp", "warm_up"]

BVALUES = np.array([0, 10, 20, 50, 100, 200, 400, 600, 800, 1000.0])  # enough for every model
SHAPE = (24, 24, 4)  # voxels: more than a bound needs
# what a method has kernels for that its defaults do not run
FITS: tuple[tuple[str, dict[str, str]], ...] = (
    ("adc", {}), ("simplified", {}), ("segmented", {}), ("nlls", {}), ("kurtosis", {}), ("triexp", {}),
    ("ista", {}), ("ista", {"solver": "fista"}),
    ("scdnn", {}), ("scdnn", {"spectrum": "true"}),
    ("bayes", {}), ("bayes", {"prior": "spatial"}), ("bayes", {"prior": "shrinkage"}),
    ("bayes", {"prior": "shrinkage", "components": "2"}), ("bayes", {"prior": "lognormal", "likelihood": "rician"}),
)  # fmt: skip
PHANTOMS = (
    ("placenta", "biexp"),
    ("fractal", "biexp"),
    ("abdomen", "triexp"),
    ("brain", "kurtosis"),
    ("brain", "mixture"),
)


class WarmedUp(NamedTuple):
    """How long kernels were compiled for [s], and the folder that they are in; None: nowhere."""

    seconds: float
    folder: Path | None


def warm_up(say: Callable[[str], None] = lambda _: None) -> WarmedUp:
    """Compile all kernels of the CPU, and keep them in the cache folder.

    Parameters
    ----------
    say : called with each step

    Returns
    -------
    WarmedUp
    """
    with tempfile.TemporaryDirectory(prefix="ivimsc-warm-up-") as folder, CompileClock() as clock:
        for what, step in _steps(Path(folder)):
            before, begin = clock.seconds, time.perf_counter()
            step()
            took = clock.seconds - before
            say(
                f"{what}: {time.perf_counter() - begin:.1f} s"
                + (f", {took:.1f} s of it compiling" if took > 0.05 else "")
            )
        return WarmedUp(clock.seconds, cache_folder()[0])


def _steps(folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    from ivimsc.compare import compare
    from ivimsc.simulate import write_phantom
    from ivimsc.store import EstimateStore, VoxelStore

    for name, model in PHANTOMS:
        path, more = folder / f"{name}-{model}.h5", {} if model == "biexp" else {"model": model}
        yield f"simulate {name}, {model}", lambda path=path, name=name, more=more: write_phantom(path, name, BVALUES, 30.0, 0, "rician", shape=SHAPE, **more)  # fmt: skip
    voxels, fitted = folder / "placenta-biexp.h5", {}
    for number, (method, settings) in enumerate(FITS):
        out = folder / f"fit{number}"
        words = " ".join([method, *(f"{key}={value}" for key, value in settings.items())])
        job = FitJob(voxels, method, out, device="cpu", maps=False, settings=settings)
        fitted.setdefault(method, job.target)
        yield f"fit {words}", lambda job=job: fit_file(job)

    def compare_all() -> None:
        with (
            VoxelStore(voxels) as store,
            EstimateStore(fitted["nlls"]) as one,
            EstimateStore(fitted["kurtosis"]) as other,
        ):
            compare(store, [one, other], choose_device("cpu"))

    yield "compare", compare_all
