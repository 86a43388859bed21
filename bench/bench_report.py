"""Where the time of a report goes: a million voxels, three fits, ten b-values, on all cores of this machine.

Run ``python -m pytest bench/bench_report.py``; it writes bench/results/report.md. The fits are not timed. The voxels fill the
whole volume and have parameters of their own each, which compresses worst: a masked scan takes less of both.
"""

import time

import pytest

from ivimsc.fit import FitJob, fit_file
from ivimsc.report import ReportJob
from ivimsc.report import stage as module
from ivimsc.report.stage import write_report
from ivimsc.simulate import write_phantom

METHODS = ("segmented", "nlls", "scdnn")
TITLE = "A report of 256 × 256 × 15 voxels without a mask, three fits, ten b-values"
PARTS = {
    "find_regions": "regions",
    "noise_of": "noise level",
    "residuals_by_volume": "single images",
    "bound_of": "Cramér-Rao bound",
    "error_rows": "errors against the truth",
    "histograms": "histograms",
    "mean_curves": "mean curves",
    "region_rows": "statistics by region",
    "pack_sources": "rounding and packing",
}


@pytest.fixture
def fitted(tmp_path):
    store = tmp_path / "voxels.h5"
    write_phantom(store, "uniform", shape=(256, 256, 15), snr=30, seed=0)
    return store, [fit_file(FitJob(store, method, tmp_path, maps=False)).store for method in METHODS]


def bench_report(fitted, tmp_path, record, monkeypatch):
    store, fits = fitted
    write_report(ReportJob(store, fits, tmp_path / "first.html"))  # compiled and imported
    times = {}

    def timed(name, call):
        def run(*words):
            start = time.perf_counter()
            found = call(*words)
            times[name] = times.get(name, 0.0) + time.perf_counter() - start
            return found

        return run

    for name, label in PARTS.items():
        monkeypatch.setattr(module, name, timed(label, getattr(module, name)))
    start, cpu = time.perf_counter(), time.process_time()
    path = write_report(ReportJob(store, fits, tmp_path / "report.html"))
    total, cpu = time.perf_counter() - start, time.process_time() - cpu
    times["reading, the page and writing"] = total - sum(times.values())
    size = path.stat().st_size
    for label, seconds in times.items():
        record("report", TITLE, part=label, seconds=seconds)
    record("report", TITLE, part="all", seconds=total, **{"CPU seconds": cpu, "size of the file [MB]": size / 1e6})
    assert size <= 25e6
