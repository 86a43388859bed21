"""A study fitted: the maps are those of single fits, what is complete is told by content, and a failing subject stops nothing."""

import errno
import json
import os
import re
import shutil

import numpy as np
import pytest

from ivimsc import __version__
from ivimsc.bids import StudyJob, participant, run_participants
from ivimsc.bids.dataset import require_place
from ivimsc.bids.participant import COMPLETE, FAILED, FITTED, LEFT
from ivimsc.errors import InputError, IvimscError
from ivimsc.fit import FitJob, fit_file
from ivimsc.nifti import read_volume
from ivimsc.store import EstimateStore
from ivimsc.store.journal import header_difference

NAME = "sub-01/ses-a/dwi/sub-01_ses-a"


@pytest.fixture(scope="module")
def fitted(tree, tmp_path_factory):
    """The whole tree, fitted by nlls: (folder of the results, summary). It is not changed."""
    out = tmp_path_factory.mktemp("fitted") / "out"
    return out, run_participants(StudyJob(tree, out))


@pytest.fixture
def again(fitted, tree, tmp_path):
    """again(**changes): run once more on a copy of the results, and the files that are others than before."""
    out = shutil.copytree(fitted[0], tmp_path / "out")

    def run(root=tree, **changes):
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
        done = run_participants(StudyJob(root, out, **changes))
        after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in out.rglob("*") if path.is_file()}
        assert before.keys() <= after.keys()  # nothing is lost
        return done, {path.relative_to(out).as_posix() for path in after if after[path] != before.get(path)}

    run.out = out
    return run


def states(done):
    return [fit.state for fit in done.fits]


def test_the_maps_are_those_of_single_fits(fitted, tree, tmp_path):
    out, done = fitted
    assert states(done) == [FITTED] * 4 and done.code == 0
    single = fit_file(FitJob(tree / f"{NAME}_dwi.nii.gz", "nlls", tmp_path, tree / "dwi.bval", mask="auto"))
    for path in single.maps:
        ours = out / "sub-01" / "ses-a" / "dwi" / path.name
        assert ours.read_bytes() == path.read_bytes()
    with EstimateStore(out / f"{NAME}_nlls.h5") as ours, EstimateStore(single.store) as theirs:
        assert header_difference(ours.header, theirs.header) == ""
        for key in theirs.keys:
            np.testing.assert_array_equal(ours[key], theirs[key])
        assert done.fits[0].outcomes == {int(o): n for o, n in theirs.count_outcomes().items()}


def test_names_and_json_are_those_of_the_draft(fitted, tree):
    out, _ = fitted
    about = json.loads((out / f"{NAME}_model-ivim_desc-nlls_param-d_dwimap.json").read_text())
    assert about["Model"]["Parameters"]["FitMethod"] == "nlls" and about["Units"] == "mm^2/s"
    assert about["Sources"] == [f"bids:raw:{NAME}_dwi.nii.gz"] and about["SkullStripped"] is False
    assert about["EchoTime"] == 0.076  # of the JSON at the root, by inheritance
    folder = json.loads((out / "dataset_description.json").read_text())
    assert folder["DatasetType"] == "derivative" and folder["GeneratedBy"][0]["Version"] == __version__
    assert (out / folder["DatasetLinks"]["raw"]).resolve() == tree.resolve()
    assert folder["SourceDatasets"][0]["DOI"] == "doi:10.1/x"
    assert len(list(out.rglob("dataset_description.json"))) == 1
    ignored = [line for line in (out / ".bidsignore").read_text().splitlines() if not line.startswith("#")]
    known = {"dataset_description.json", ".bidsignore", "README"}
    for path in out.rglob("*"):
        assert path.is_dir() or path.name in known or any(path.match(pattern) for pattern in ignored), path
    page = (out / "sub-01.html").read_text()
    assert "http" not in page and page.count("data:image/png;base64") == 10  # two series: S0, f, D, D*, outcome


def test_what_is_complete_is_not_touched(again):
    done, changed = again()
    assert states(done) == [COMPLETE] * 4 and not changed and done.code == 0
    assert done.fits[0].voxels == 409 and done.fits[0].converged > 0.2  # told all the same


def test_a_map_that_is_gone_or_damaged_is_made_again(again, fitted):
    gone = again.out / f"{NAME}_model-ivim_desc-nlls_param-f_dwimap.nii.gz"
    whole = gone.read_bytes()
    gone.unlink()
    done, _ = again()
    assert states(done) == [FITTED, COMPLETE, COMPLETE, COMPLETE] and gone.read_bytes() == whole
    assert "is gone" in done.fits[0].words
    gone.write_bytes(whole[:-30])
    done, _ = again()
    assert states(done)[0] == FITTED and gone.read_bytes() == whole


def test_a_damaged_store_is_fitted_again(again, fitted):
    store = again.out / f"{NAME}_nlls.h5"
    damaged = bytearray(store.read_bytes())
    with EstimateStore(store) as opened:
        place = damaged.find(opened["d"].astype("<f4").tobytes()[:64])
    damaged[place] ^= 0xFF
    store.write_bytes(bytes(damaged))
    done, _ = again()
    assert states(done) == [FITTED, COMPLETE, COMPLETE, COMPLETE]
    with EstimateStore(store) as ours, EstimateStore(fitted[0] / f"{NAME}_nlls.h5") as before:
        np.testing.assert_array_equal(ours["d"], before["d"])


def test_a_record_that_is_gone_costs_no_fit(again, monkeypatch):
    """Killed between the store and its record: the store is recognised, and only its maps are written."""
    (again.out / f"{NAME}_nlls.h5.json").unlink()
    before = (again.out / f"{NAME}_nlls.h5").read_bytes()
    done, changed = again()
    assert states(done)[0] == FITTED and (again.out / f"{NAME}_nlls.h5").read_bytes() == before
    assert f"{NAME}_nlls.h5.json" in changed and f"{NAME}_nlls.h5" not in changed


def change_image(root):
    path = root / f"{NAME}_dwi.nii.gz"
    data, _ = read_volume(path)
    path.unlink()
    from ivimsc.nifti import read_geometry, write_volume

    write_volume(path, data * np.float32(2), read_geometry(root / "sub-02" / "dwi" / "sub-02_run-1_dwi.nii.gz"))


@pytest.mark.parametrize(("change", "says"), [
    (change_image, "another images"),
    (lambda root: (root / "sub-01" / "sub-01_ses-a_dwi.bval").write_text("0 10 20 50 80 100 150 200 300 600"), "another b-values"),
    (None, "other options: max_iterations = 60 and not 50"),
])  # fmt: skip
def test_results_of_other_data_or_options_are_kept_without_force(again, study, change, says):
    settings = {} if change else {"max_iterations": "50"}
    if change:
        change(study)
    one = {"participants": ["01"], "sessions": ["a"], "settings": settings}
    done, changed = again(study, **one)
    assert states(done) == [FAILED] and says in done.fits[0].words and "force=True" in done.fits[0].words
    assert not changed and done.code == 1
    done, changed = again(study, **one, force=True)
    assert states(done) == [FITTED] and f"{NAME}_nlls.h5" in changed
    assert states(again(study, **one, force=True)[0]) == [COMPLETE]  # nothing to replace any more


def test_a_part_of_a_fit_is_gone_on_with(tree, tmp_path, fitted, monkeypatch):
    """Interrupted after a chunk: the next run takes it, and the bytes of the maps are the same."""
    real = participant.fit_file
    monkeypatch.setattr(participant, "fit_file", lambda job: real(participant.replace(job, chunk=128), stop))

    def stop(done, total):
        if done >= 256:
            raise KeyboardInterrupt

    job = StudyJob(tree, tmp_path / "out", participants=["02"])
    with pytest.raises(KeyboardInterrupt):
        run_participants(job)
    (part,) = (tmp_path / "out").rglob("*.part")
    size = part.stat().st_size
    assert size > 0
    seen = []
    monkeypatch.setattr(participant, "fit_file", lambda job: real(job, lambda done, total: seen.append(done)))
    done = run_participants(job)
    assert states(done) == [FITTED, FITTED] and seen[0] == 256
    name = "sub-02/dwi/sub-02_run-1_model-ivim_desc-nlls_param-dstar_dwimap.nii.gz"
    assert (tmp_path / "out" / name).read_bytes() == (fitted[0] / name).read_bytes()


def test_a_failing_subject_stops_nothing(study, tmp_path):
    (study / "sub-01" / "ses-a" / "dwi" / "sub-01_ses-a_dwi.bval").write_bytes(b"\xff\x00")
    path = study / "sub-02" / "dwi" / "sub-02_run-1_dwi.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])
    shutil.copytree(study / "sub-01" / "ses-b", study / "sub-03" / "dwi" / "x")
    shutil.move(study / "sub-03" / "dwi" / "x" / "dwi" / "sub-01_ses-b_dwi.nii.gz", study / "sub-03" / "dwi" / "sub-03_dwi.nii.gz")  # fmt: skip
    (study / "sub-03" / "dwi" / "sub-03_dwi.bval").write_text("0 0 0 0 0 1000 1000 1000 1000 1000")
    done = run_participants(StudyJob(study, tmp_path / "out"))
    found = {fit.series.rpartition("/")[2].removesuffix("_dwi.nii.gz"): fit for fit in done.fits}
    assert {name: fit.state for name, fit in found.items()} == {
        "sub-01_ses-a": FAILED, "sub-01_ses-b": FITTED, "sub-02_run-1": FAILED, "sub-02_run-2": FITTED, "sub-03": LEFT,
    }  # fmt: skip
    assert "found binary data" in found["sub-01_ses-a"].words and "truncated" in found["sub-02_run-1"].words
    assert "fewer than 4" in found["sub-03"].words and done.code == 1
    assert "truncated" in (tmp_path / "out" / "sub-02.html").read_text()


def test_an_unforeseen_error_costs_one_fit_and_is_kept(tree, tmp_path, monkeypatch):
    real = participant.write_maps
    monkeypatch.setattr(participant, "write_maps", lambda store, out, **how: 1 / 0 if "run-1" in how["stem"] else real(store, out, **how))  # fmt: skip
    done = run_participants(StudyJob(tree, tmp_path / "out", participants=["sub-02"]))
    assert states(done) == [FAILED, FITTED] and "unforeseen ZeroDivisionError" in done.fits[0].words
    assert "ZeroDivisionError" in (tmp_path / "out" / "logs" / "sub-02_trace.txt").read_text()


def test_a_full_disk_stops_the_study_and_loses_nothing(tree, tmp_path, monkeypatch):
    real = participant.write_maps

    def full(store, out, **how):
        if "ses-b" in how["stem"]:
            raise IvimscError(f"{out}: {os.strerror(errno.ENOSPC)}")
        return real(store, out, **how)

    monkeypatch.setattr(participant, "write_maps", full)
    job = StudyJob(tree, tmp_path / "out")
    done = run_participants(job)
    assert states(done) == [FITTED, FAILED] and done.not_run == ["02"] and "the disk is full" in done.stopped
    assert done.code == 1
    monkeypatch.undo()
    assert states(run_participants(job)) == [COMPLETE, FITTED, FITTED, FITTED]


def test_masks_of_derivatives_and_several_methods_with_options(tree, tmp_path):
    manual = tree / "derivatives" / "manual"
    job = StudyJob(tree, tmp_path / "out", ["01"], ["a"], ["nlls", "segmented"], {"max_iterations": "50", "segmented.split": "150"},
                   mask_from=manual, labels_from=manual)  # fmt: skip
    done = run_participants(job)
    assert states(done) == [FITTED, FITTED]
    mask, _ = read_volume(manual / "sub-01" / "ses-a" / "dwi" / "sub-01_ses-a_desc-brain_mask.nii.gz")
    for method, option, value in (("nlls", "max_iterations", 50), ("segmented", "split", 150)):
        with EstimateStore(tmp_path / "out" / f"{NAME}_{method}.h5") as store:
            assert len(store) == (mask > 0).sum() and store.options[option] == value
    about = json.loads((tmp_path / "out" / f"{NAME}_model-ivim_desc-nlls_param-f_dwimap.json").read_text())
    assert about["SkullStripped"] is True and about["Mask"] == "sub-01_ses-a_desc-brain_mask.nii.gz"
    assert "placenta rim" in (tmp_path / "out" / "sub-01.html").read_text()


@pytest.mark.parametrize(("changes", "says"), [
    ({"settings": {"nonsense": "1"}}, "option nonsense: found in no method, expected an option of nlls"),
    ({"settings": {"bayes.draws": "1"}}, "option bayes.draws: found the method 'bayes', expected one of nlls"),
    ({"settings": {"max_iterations": "x"}}, "max_iterations"),
    ({"methods": ["none"]}, "none"),
    ({"mask_from": "nowhere"}, "mask_from: found nowhere, expected 'auto', 'none', or a folder"),
    ({"participants": ["9"]}, "participant_label: found 9"),
])  # fmt: skip
def test_bad_usage_is_refused_before_anything_is_written(tree, tmp_path, changes, says):
    with pytest.raises(InputError) as error:
        run_participants(StudyJob(tree, tmp_path / "out", **changes))
    assert says in str(error.value) and not (tmp_path / "out").exists()


def test_nothing_to_fit_is_an_error(tmp_path):
    (tmp_path / "b" / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(InputError, match="found no diffusion series, none that can be fitted"):
        run_participants(StudyJob(tmp_path / "b", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_where_results_may_lie(study, tmp_path):
    for good in (tmp_path / "out", study / "derivatives" / "ivimsc", tmp_path):
        require_place(study, good)
    for bad, says in (
        (study, "within the data set"),
        (study / "out", "expected one outside, or"),
        (study / "sub-01", "within the data set"),
        (study / "derivatives", "expected one of its own"),
    ):
        with pytest.raises(InputError, match=says):
            require_place(study, bad)
    other = tmp_path / "fmriprep"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "fMRIPrep"}]}')
    with pytest.raises(InputError, match="made by fMRIPrep, expected a new folder"):
        require_place(study, other)


def test_the_page_keeps_what_earlier_runs_fitted(again):
    """Another method for one session: the page tells of both sessions, and of both methods there."""
    done, _ = again(participants=["01"], sessions=["b"], methods=["adc"])
    assert states(done) == [FITTED]
    page = (again.out / "sub-01.html").read_text()
    assert "ses-a_dwi" in page and page.count("<th>nlls</th>") == 2 and page.count("<th>adc</th>") == 1
    row = re.search(r"<tr><td>adc</td>(.*?)</tr>", page)[1]
    cells = re.findall(r'<td title="(\d+) voxels count">(.*?)</td>', row)
    with EstimateStore(again.out / "sub-01" / "ses-b" / "dwi" / "sub-01_ses-b_adc.h5") as store:
        d = store["d"][np.isin(store["outcome"], [1, 2, 4])]
    assert [int(n) > 0 for n, _ in cells] == [True, False, True, False]  # S0, f, D, D*: each under its own head
    assert cells[2] == (str(len(d)), f"{1e3 * np.median(d):.3g} ({1e3 * np.quantile(d, 0.25):.3g} to {1e3 * np.quantile(d, 0.75):.3g})")  # fmt: skip
