"""``ivimsc repeat``: which voxels and regions are compared, with numpy as referee."""

import csv
import math

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.fit import FitJob, fit_file
from ivimsc.nifti import read_volume, write_volume
from ivimsc.repeat import RepeatJob, by_names, read_table, run_repeat
from ivimsc.repeat.matching import Repeat
from ivimsc.simulate import simulate_phantom, write_nifti
from ivimsc.store import EstimateStore, write_voxels
from tests.conftest import TEN


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two subjects, two scans each: a_1.h5, a_2.h5, b_1.h5, b_2.h5 by nlls, of one phantom and other noise; labels.nii.gz."""
    out = tmp_path_factory.mktemp("repeat")
    for subject, truth in (("a", 1), ("b", 2)):
        clean = simulate_phantom("placenta", noise="none", shape=(24, 24, 2), seed=truth, bvalues=TEN)
        if subject == "a":
            (out / "n").mkdir()
            write_nifti(clean, out / "n", stem="p")
            (out / "n" / "p_dseg.nii.gz").rename(out / "labels.nii.gz")
            (out / "n" / "p_dseg.tsv").rename(out / "labels.tsv")
        for repeat in (1, 2):
            random = np.random.default_rng(10 * truth + repeat)
            noisy = clean.signals + 0.02 * random.standard_normal(clean.signals.shape).astype(np.float32)
            from dataclasses import replace

            write_voxels(out / f"{subject}_{repeat}_dwi.h5", replace(clean, signals=noisy))
            fit_file(FitJob(out / f"{subject}_{repeat}_dwi.h5", "nlls", out, maps=False))
            (out / f"{subject}_{repeat}_nlls.h5").rename(out / f"sub-{subject}_run-{repeat}.h5")
    return out


def paths(folder, subjects="ab"):
    return [folder / f"sub-{subject}_run-{repeat}.h5" for subject in subjects for repeat in (1, 2)]


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def both(folder, key, subject="a"):
    with EstimateStore(folder / f"sub-{subject}_run-1.h5") as one, EstimateStore(folder / f"sub-{subject}_run-2.h5") as two:  # fmt: skip
        values = np.stack([one[key], two[key]], axis=1).astype(float)
        outcomes = np.stack([one["outcome"], two["outcome"]], axis=1)
        return values, outcomes, one.index[:], two.index[:]


def test_voxels_of_one_subject_are_numpys(folder, tmp_path):
    result = run_repeat(RepeatJob(by_names(paths(folder, "a"), [folder / "labels.nii.gz"]), tmp_path))
    labels = read_volume(folder / "labels.nii.gz")[0]
    table = {(row["level"], row["region"], row["map"]): row for row in read(tmp_path / "sub-a_run-1_repeat.csv")}
    for key, codes in (("f", [1, 2, 4]), ("d", [1, 2, 4]), ("dstar", [1])):
        values, outcomes, index, _ = both(folder, key)
        counted = np.isin(outcomes, codes).all(axis=1)
        row = table["voxel", "all", key]
        assert (int(row["voxels"]), int(row["targets"]), int(row["repeats"])) == (len(values), counted.sum(), 2)
        x = values[counted] if key != "dstar" else np.log(values[counted])
        wsd = math.sqrt(np.mean(np.diff(x, axis=1) ** 2) / 2)
        assert float(row["wsd"]) == pytest.approx(wsd, rel=1e-6)
        known = x[x.mean(axis=1) != 0]  # f is 0 in both repeats of some voxels: they have no CV
        share = known.var(axis=1, ddof=1) / known.mean(axis=1) ** 2
        cv = math.sqrt(math.expm1(wsd**2) if key == "dstar" else share.mean())
        assert int(row["cv_targets"]) == (len(x) if key == "dstar" else len(known))
        assert float(row["wcv"]) == pytest.approx(cv, rel=1e-6)
        rc = 1.959964 * math.sqrt(2) * wsd
        assert float(row["rc"]) == pytest.approx(math.exp(rc) if key == "dstar" else rc, rel=1e-6)
        region = next(name for level, name, one in table if level == "voxel" and name != "all" and one == key)
        code = next(int(row["index"]) for row in csv.DictReader((folder / "labels.tsv").read_text().splitlines(), delimiter="\t") if row["name"] == region)  # fmt: skip
        here = labels[tuple(index.T)] == code
        assert int(table["voxel", region, key]["targets"]) == (counted & here).sum()
        medians = [np.median(values[here & np.isin(outcomes[:, j], codes), j]) for j in (0, 1)]
        found = table["region", region, key]
        spread = np.std(np.log(medians) if key == "dstar" else medians, ddof=1)
        assert float(found["wsd"]) == pytest.approx(spread, rel=1e-5) and found["icc"] == ""  # one subject has no ICC
    assert [path.name.split("_repeat")[1] for path in result.files] == [".csv", "_pairs.csv", "_voxels.png", "_regions.png"]  # fmt: skip


def test_limits_of_agreement_are_numpys(folder, tmp_path):
    run_repeat(RepeatJob(by_names(paths(folder, "a")), tmp_path))
    rows = {row["map"]: row for row in read(tmp_path / "sub-a_run-1_repeat_pairs.csv")}
    values, outcomes, *_ = both(folder, "d")
    apart = np.diff(values[np.isin(outcomes, [1, 2, 4]).all(axis=1)], axis=1)
    assert float(rows["d"]["bias"]) == pytest.approx(apart.mean(), rel=1e-5)
    assert float(rows["d"]["limit_high"]) == pytest.approx(apart.mean() + 1.959964 * apart.std(ddof=1), rel=1e-5)
    assert rows["dstar"]["scale"] == "log" and float(rows["dstar"]["limit_low"]) > 0  # a ratio


def test_subjects_by_their_names_are_the_targets_of_regions(folder, tmp_path):
    result = run_repeat(RepeatJob(by_names(paths(folder)), tmp_path))
    (row,) = [row for row in result.rows if row.level == "region" and row.key == "d"]
    expected = []
    for subject in "ab":
        values, outcomes, *_ = both(folder, "d", subject)
        expected.append([np.median(values[np.isin(outcomes[:, j], [1, 2, 4]), j]) for j in (0, 1)])
    np.testing.assert_allclose(row.values, expected, rtol=1e-12)
    assert row.subjects == ("sub-a", "sub-b") and np.isfinite(row.found.icc.value)
    (voxels,) = [row for row in result.rows if row.level == "voxel" and row.key == "d"]
    assert voxels.found.targets > 1.5 * row.voxels  # of both subjects together


def test_a_table_says_the_same(folder, tmp_path):
    lines = ["subject,estimates", *(f"{path.name[4]},{path}" for path in paths(folder))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    found = run_repeat(RepeatJob(read_table(tmp_path / "t.csv"), tmp_path / "x"))
    expected = run_repeat(RepeatJob(by_names(paths(folder)), tmp_path / "y"))
    for one, other in zip(found.rows, expected.rows, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
    (tmp_path / "t.csv").write_text("subject,file\na,b")
    with pytest.raises(InputError, match="expected a table with the columns subject and estimates"):
        read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("subject,estimates\na,\n")
    with pytest.raises(InputError, match="found an empty cell in row 2"):
        read_table(tmp_path / "t.csv")


def masked(folder, out, name, keep):
    """The first scan of subject a again, with some of its voxels in another order, fitted."""
    from ivimsc.store import VoxelStore
    from ivimsc.voxels import Voxels

    with VoxelStore(folder / "a_2_dwi.h5") as store:
        signals, index = store.read(0, len(store))[keep], store.index[:][keep]
        write_voxels(out / f"{name}.h5", Voxels(signals, store.bvalues, index, store.geometry, "again"))
    fit_file(FitJob(out / f"{name}.h5", "nlls", out, maps=False, settings={"sigma": "0.02"}))
    return out / f"{name}_nlls.h5"


def test_voxels_are_matched_by_their_places(folder, tmp_path):
    """Another mask and another order of the voxels: those in common are compared, each with itself."""
    with EstimateStore(folder / "sub-a_run-2.h5") as store:
        keep = np.random.default_rng(0).permutation(len(store))[: len(store) // 2]
    other = masked(folder, tmp_path, "half", keep)
    result = run_repeat(RepeatJob([Repeat("", folder / "sub-a_run-1.h5"), Repeat("", other)], tmp_path))
    (row,) = [row for row in result.rows if row.key == "d"]
    values, *_ = both(folder, "d")
    assert row.voxels == len(keep)
    apart = np.sort(row.values[:, 1] - row.values[:, 0])
    whole = np.sort(np.diff(values[keep], axis=1).ravel())
    assert np.median(np.abs(apart)) == pytest.approx(np.median(np.abs(whole)), rel=0.1)  # other voxels differ by more
    assert any("another sigma" in note for note in result.notes)


def test_grids_that_do_not_match_need_labels(folder, tmp_path):
    with EstimateStore(folder / "sub-a_run-2.h5") as store:
        geometry = store.geometry
    from dataclasses import replace

    from ivimsc.store import VoxelStore
    from ivimsc.voxels import Voxels

    shift = np.eye(4)
    shift[0, 3] = 30
    moved = replace(geometry, affine=shift @ geometry.affine, qform=None, sform=shift @ geometry.affine, sform_code=1, qform_code=0)  # fmt: skip
    with VoxelStore(folder / "a_2_dwi.h5") as store:
        write_voxels(
            tmp_path / "m.h5", Voxels(store.read(0, len(store)), store.bvalues, store.index[:], moved, "moved")
        )
    fit_file(FitJob(tmp_path / "m.h5", "nlls", tmp_path, maps=False))
    both_fits = [folder / "sub-a_run-1.h5", tmp_path / "m_nlls.h5"]
    with pytest.raises(InputError, match="or labels, whose regions can be compared"):
        run_repeat(RepeatJob(by_names(both_fits), tmp_path))
    labels, _ = read_volume(folder / "labels.nii.gz")
    write_volume(tmp_path / "moved.nii.gz", labels, moved)
    (tmp_path / "moved.tsv").write_text((folder / "labels.tsv").read_text())
    result = run_repeat(RepeatJob(by_names(both_fits, [folder / "labels.nii.gz", tmp_path / "moved.nii.gz"]), tmp_path))
    assert {row.level for row in result.rows} == {"region"} and "no voxelwise comparison" in result.notes[0]


def test_what_is_no_repeat_is_refused(folder, tmp_path):
    a1, a2, b1, _ = paths(folder)
    other = fit_file(FitJob(folder / "a_2_dwi.h5", "segmented", tmp_path, maps=False)).store
    fewer = fit_file(FitJob(folder / "a_2_dwi.h5", "nlls", tmp_path, maps=False, bvalues=TEN[1:])).store
    for stores, says in (
        ([a1], "found 1 estimate store, expected two repeats"),
        ([a1, other], "found a fit by segmented, expected nlls"),
        ([a1, fewer], "expected 0, 10, 20"),
        ([a1, a1], "found the signals of"),
    ):
        with pytest.raises(InputError, match=says):
            run_repeat(RepeatJob([Repeat("", path) for path in stores], tmp_path / "out"))
    with pytest.raises(InputError, match="found sub-a 2, sub-b 1 repeats"):
        run_repeat(RepeatJob(by_names([a1, a2, b1]), tmp_path / "out"))
    with pytest.raises(InputError, match="labels: found 2 files"):
        by_names([a1, a2, b1], [a1, a2])
    assert not (tmp_path / "out").exists()
    run_repeat(RepeatJob(by_names([a1, a2]), tmp_path / "out"))
    with pytest.raises(InputError, match="force=True"):
        run_repeat(RepeatJob(by_names([a1, a2]), tmp_path / "out"))
    run_repeat(RepeatJob(by_names([a1, a2]), tmp_path / "out", force=True))
