"""One fit, one identity: what is resumed, and what is taken for finished, depends on the very same content."""

import h5py
import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.fit.identity import Seen, places_sha256
from ivimsc.fit.inputs import identity_of
from ivimsc.methods import Inputs
from ivimsc.models import Model
from ivimsc.physics.dictionary import Dictionary
from ivimsc.store import EstimateStore, PartFile, write_voxels
from ivimsc.store.dictionaries import write_dictionary
from ivimsc.voxels import Geometry, Voxels
from tests.conftest import TEN, as_voxels, phantom

N = 60


@pytest.fixture(scope="module")
def measured():
    return phantom(N, TEN, 50).signals


def interrupt(job, monkeypatch, finished):
    """The fit as it is after a kill: finished but for its maps, or in the middle."""
    if finished:
        return fit_file(job)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        real = PartFile.append

        def append(self, *words):
            real(self, *words)
            raise KeyboardInterrupt

        patch.setattr(PartFile, "append", append)
        fit_file(job)
    return None


def atoms(scale):
    return Dictionary(TEN, np.linspace(0.5e-3, 3e-3, 5) * scale, np.geomspace(0.01, 0.2, 5))


def prior(scale):
    voxels, p = as_voxels(phantom(300, TEN, 50).signals, TEN), phantom(300, TEN, 50)
    truth = {"s0": p.S0, "f": p.f * scale, "d": p.D, "dstar": p.Dstar}
    return Voxels(
        voxels.signals, TEN, voxels.index, voxels.geometry, truth={k: np.float32(v) for k, v in truth.items()}
    )


WRITERS = {
    "dictionary": lambda path, scale: write_dictionary(path, atoms(scale), force=True),
    "prior": lambda path, scale: write_voxels(path, prior(scale), force=True),
}


@pytest.mark.parametrize("finished", [False, True], ids=["in the middle", "finished"])
@pytest.mark.parametrize(("method", "option"), [("ista", "dictionary"), ("bayes", "prior")])
def test_a_file_that_an_option_names_is_known_by_its_content(tmp_path, measured, monkeypatch, method, option, finished):
    store, named = tmp_path / "v.h5", tmp_path / "named.h5"
    write_voxels(store, as_voxels(measured, TEN))
    WRITERS[option](named, 1.0)
    settings = {option: str(named)} | ({"sigma": 0.02, "draws": 256} if method == "bayes" else {})
    job = FitJob(store, method, tmp_path / "out", maps=False, settings=settings, chunk=20, resume=True)
    interrupt(job, monkeypatch, finished)
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    WRITERS[option](named, 0.9)
    with pytest.raises(InputError, match=rf"found option {option}_sha256 .*, expected .* as in this fit; force=True"):
        fit_file(job)
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    WRITERS[option](named, 1.0)  # written again: other bytes in the file, the same content
    with EstimateStore(fit_file(job).store) as found:
        assert found.options[f"{option}_sha256"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"v_{method}.h5"]


class TestData:
    @pytest.fixture(params=[False, True], ids=["in the middle", "finished"])
    def job(self, request, tmp_path, measured, monkeypatch):
        store = tmp_path / "v.h5"
        write_voxels(store, as_voxels(measured, TEN))
        job = FitJob(store, "nlls", tmp_path / "out", maps=False, chunk=20, resume=True)
        interrupt(job, monkeypatch, request.param)
        return job

    def refused(self, job, says):
        before = {path: path.read_bytes() for path in job.out.iterdir()}
        with pytest.raises(InputError, match=says) as told:
            fit_file(job)
        assert "\n" not in str(told.value)
        assert {path: path.read_bytes() for path in job.out.iterdir()} == before

    def test_the_same_signals_in_other_places(self, job, measured):
        voxels = as_voxels(measured, TEN)
        moved = Voxels(voxels.signals, TEN, voxels.index[::-1].copy(), voxels.geometry)
        write_voxels(job.input, moved, force=True)
        self.refused(job, "found places_sha256")

    def test_the_same_signals_in_another_volume(self, job, measured):
        voxels = as_voxels(measured, TEN)
        write_voxels(
            job.input, Voxels(voxels.signals, TEN, voxels.index, Geometry((N, 1, 1), 2 * np.eye(4))), force=True
        )
        self.refused(job, "found places_sha256")

    def test_the_same_signals_that_are_means_of_more_images(self, job, measured):
        voxels = as_voxels(measured, TEN)
        again = Voxels(voxels.signals, TEN, voxels.index, voxels.geometry, repeats=np.arange(1, 11))
        write_voxels(job.input, again, force=True)
        self.refused(job, "found weights")

    def test_the_same_signals_at_other_bvalues(self, job, measured):
        write_voxels(job.input, as_voxels(measured, TEN + 1), force=True)
        self.refused(job, "found bvalues")

    @pytest.mark.parametrize("voxel", [3, N - 1], ids=["that were fitted", "that were not"])
    def test_signals_that_changed_under_their_checksum(self, job, voxel):
        with h5py.File(job.input, "r+") as file:
            file["signals"][voxel, 2] += 1
        self.refused(job, "found (signals of SHA-256|.*damaged)")

    def test_the_method_the_device_and_the_version(self, job, monkeypatch):
        real = PartFile.header
        for key, value in (("method", "segmented"), ("device", "cuda"), ("ivimsc_version", "0.0.1")):
            with monkeypatch.context() as patch:
                patch.setattr(PartFile, "header", lambda *words, k=key, v=value, **more: real(*words, **more) | {k: v})
                self.refused(job, f"found {key} .*, expected .{value}. as in this fit")

    def test_a_store_of_an_older_ivimsc_is_not_taken_for_this_fit(self, job):
        if job.target.exists():
            with h5py.File(job.target, "r+") as file:
                del file.attrs["identity"]
            self.refused(job, "keeps no record of what it depended on|damaged")


def test_chunks_of_other_signals_are_not_gone_on_with(tmp_path, measured, monkeypatch):
    """Even where the checksums of two stores say that they are the same: every chunk keeps what it was fitted to."""
    real, store = PartFile.header, tmp_path / "v.h5"
    monkeypatch.setattr(PartFile, "header", lambda *words, **more: real(*words, **more) | {"signals_sha256": "same"})
    job = FitJob(store, "nlls", tmp_path / "out", maps=False, chunk=20, resume=True, bvalues=TEN[1:])
    changed = measured.copy()
    changed[3, 2] += 1
    write_voxels(store, as_voxels(changed, TEN))
    interrupt(job, monkeypatch, False)
    write_voxels(store, as_voxels(measured, TEN), force=True)
    with pytest.raises(InputError, match=r"found chunks fitted to other signals \(voxels 0 to 20\)"):
        fit_file(job)


def test_seen_is_the_same_whatever_the_chunks_and_knows_the_signal_at_b_0():
    signals, s0 = np.float32(np.random.default_rng(0).random((60, 10))), np.ones(60, np.float32)
    whole, parts, without, other = Seen(), Seen(), Seen(), Seen()
    whole.add(signals, s0)
    without.add(signals, None)
    other.add(signals, 2 * s0)
    for start, stop in ((0, 7), (7, 59), (59, 60)):
        parts.add(signals[start:stop], s0[start:stop])
    assert whole.sha256() == parts.sha256()
    assert len({whole.sha256(), without.sha256(), other.sha256()}) == 3


def test_identity_is_that_of_arrays_and_not_of_words():
    arrays = {"f": np.arange(4.0), "d": np.arange(4.0) + 1}
    swapped = {"f": arrays["d"], "d": arrays["f"]}
    found = [identity_of(Inputs({"prior": content}))["prior_sha256"] for content in (arrays, dict(reversed(arrays.items())), swapped)]  # fmt: skip
    assert found[0] == found[1] != found[2]
    named, unnamed = (Dictionary(TEN, np.linspace(1e-3, 3e-3, 3), np.linspace(0.01, 0.2, 3), name) for name in "ab")
    assert identity_of(Inputs({"dictionary": named})) == identity_of(Inputs({"dictionary": unnamed}))
    model = Model("scdnn", {}, {"bvalues": None}, "m", "ab12")
    assert identity_of(Inputs({"model": model})) == {"model_sha256": "ab12"}


def test_places_are_read_in_blocks(monkeypatch):
    voxels = as_voxels(phantom(50, TEN).signals, TEN)
    whole = places_sha256(voxels)
    monkeypatch.setattr("ivimsc.fit.identity.BLOCK", 7)
    assert places_sha256(voxels) == whole


def test_a_damaged_chunk_is_said_and_fitted_again(tmp_path, measured, monkeypatch):
    store = tmp_path / "v.h5"
    write_voxels(store, as_voxels(measured, TEN))
    job = FitJob(store, "adc", tmp_path / "out", maps=False, chunk=20, resume=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PartFile, "finish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        fit_file(job)
    part = tmp_path / "out" / "v_adc.h5.part"
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1  # in the second of three chunks
    part.write_bytes(content)
    said, seen = [], []
    fit_file(job, lambda *at: seen.append(at), said.append)
    assert seen[0] == (20, N)
    assert [line for line in said if "found a damaged record behind 20 finished voxels" in line]
    whole = fit_file(FitJob(store, "adc", tmp_path / "whole", maps=False)).store
    with EstimateStore(job.target) as found, EstimateStore(whole) as expected:
        for key in expected.keys:
            np.testing.assert_array_equal(found[key], expected[key])


def test_what_a_kill_leaves_beside_a_finished_store_goes_with_the_next_resume(tmp_path, measured):
    """After the store has its name: its temporary name, the part file and the journal may still be there."""
    store = tmp_path / "v.h5"
    write_voxels(store, as_voxels(measured, TEN))
    job = FitJob(store, "adc", tmp_path / "out", maps=False, resume=True)
    fit_file(job)
    (tmp_path / "out" / ".v_adc.h5.tmp").hardlink_to(job.target)
    for end in (".part", ".part.journal"):
        (tmp_path / "out" / f"v_adc.h5{end}").write_bytes(b"left")
    before = job.target.read_bytes()
    fit_file(job)
    assert [path.name for path in job.out.iterdir()] == ["v_adc.h5"] and job.target.read_bytes() == before
