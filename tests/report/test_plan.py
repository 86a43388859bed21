"""What goes into the page: everything, finely, where there is room; else less, and that is said."""

import numpy as np
import pytest

from ivimsc.report import plan
from ivimsc.report.plan import LEVELS, pack_sources
from ivimsc.report.shown import SHOWN
from ivimsc.report.sources import opened_sources
from tests.report.conftest import SIGMA
from tests.report.test_packing import unpacked


@pytest.fixture
def sources(made):
    with opened_sources(made.store, made.paths) as opened:
        yield opened


def test_a_small_set_is_kept_to_three_digits(sources, made):
    kept = pack_sources(sources, SIGMA, (made.voxels.tissue == 1).astype(np.uint16))
    assert kept.level == LEVELS[0] and not any("Left out" in note for note in kept.notes)
    for name, fit in made.fits.items():
        for key, values in fit.items():
            if f"{key} {name}" in kept.arrays:
                # fields of errors are kept to 1 in 400, all others to 1 in 4000, and to half a step (S0 is about 1)
                step = 0.6 * SHOWN[key].step
                np.testing.assert_allclose(unpacked(kept.arrays[f"{key} {name}"]), values, rtol=3e-3, atol=step)
    np.testing.assert_allclose(unpacked(kept.arrays["f nlls"]), made.fits["nlls"].f, rtol=5e-4, atol=5e-5)
    signals = unpacked(kept.arrays["signals"]).reshape(10, 104).T
    assert np.abs(signals - made.voxels.signals).max() < SIGMA / 30  # steps of a sixteenth of the noise


def test_the_box_holds_the_voxels_where_they_are(sources, made):
    inside = unpacked(pack_sources(sources, SIGMA).arrays["inside"])
    low = made.voxels.index.min(0)
    box = made.voxels.index.max(0) - low + 1
    assert inside.sum() == 104
    x, y, z = (made.voxels.index - low).T
    np.testing.assert_array_equal(np.flatnonzero(inside), x + box[0] * (y + box[1] * z))


def test_voxels_in_any_order_are_sorted_as_the_page_has_them(made, tmp_path):
    from dataclasses import replace

    from ivimsc.store import write_voxels
    from tests.report.conftest import known_estimates, write_fit

    turn = np.random.default_rng(3).permutation(104)
    mixed = replace(
        made.voxels, signals=made.voxels.signals[turn], index=made.voxels.index[turn], truth=None, tissue=None
    )
    store, fit = write_voxels(tmp_path / "mixed.h5", mixed), known_estimates(104, 9)
    path = write_fit(tmp_path / "mixed_nlls.h5", mixed, "nlls", fit)
    with opened_sources(store, [path]) as sources:
        arrays = pack_sources(sources, SIGMA).arrays
    np.testing.assert_allclose(unpacked(arrays["d nlls"])[turn], fit.D, rtol=1e-3)
    signals = unpacked(arrays["signals"]).reshape(10, 104).T
    np.testing.assert_allclose(signals[turn], mixed.signals, atol=SIGMA / 30)


def test_spectra_are_kept_as_shares_of_their_voxel(sources, made):
    arrays = pack_sources(sources, SIGMA).arrays
    spectrum = made.fits["ista"].spectrum
    np.testing.assert_array_equal(unpacked(arrays["spectrum counts ista"]), np.diff(spectrum.indptr))
    np.testing.assert_array_equal(unpacked(arrays["spectrum atoms ista"]), spectrum.indices)
    sums = np.repeat(np.add.reduceat(spectrum.data, spectrum.indptr[:-1]), np.diff(spectrum.indptr))
    np.testing.assert_allclose(unpacked(arrays["spectrum shares ista"]), 1000 * spectrum.data / sums, atol=0.5)


def test_less_room_takes_digits_then_spectra_then_errors_and_says_so(sources, monkeypatch):
    monkeypatch.setattr(plan, "PAGE", 0)
    whole = sum(len(packed.text) for packed in pack_sources(sources, SIGMA).arrays.values())
    some = pack_sources(sources, SIGMA, limit=int(0.8 * whole))
    assert some.level in LEVELS[1:4] and "spectrum atoms ista" in some.arrays
    least = pack_sources(sources, SIGMA, limit=1000)
    assert least.level == LEVELS[-1] and "fstd nlls" not in least.arrays and "spectrum atoms ista" not in least.arrays
    assert "outcome nlls" in least.arrays and "signals" in least.arrays
    assert any("standard errors, RMSE" in note for note in least.notes)
    assert any("the spectra of ista" in note for note in least.notes)
