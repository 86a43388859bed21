"""The group: numpy's medians, published scores, pages that hold what the tables say."""

import csv
import math
import shutil

import numpy as np
import pytest

from ivimsc.bids import StudyJob, run_group, run_participants
from ivimsc.bids.group import FEWEST, LIMIT, modified_z, summaries
from ivimsc.errors import InputError
from ivimsc.nifti import read_volume
from ivimsc.store import EstimateStore


@pytest.fixture(scope="module")
def group(tree, tmp_path_factory):
    """The tree fitted by nlls and told with its labels: (folder, group)."""
    out = tmp_path_factory.mktemp("group") / "out"
    run_participants(StudyJob(tree, out))
    found, files = run_group(StudyJob(tree, out, methods=(), labels_from=tree / "derivatives" / "manual"))
    assert [path.name for path in files] == ["group_medians.csv", "group_outcomes.csv", "group_medians.png", "group.html"]  # fmt: skip
    return out, found


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(("key", "codes"), [("f", [1, 2, 4]), ("dstar", [1])])
def test_medians_are_numpys(group, tree, key, codes):
    out, _ = group
    rows = {(row["series"], row["region"], row["map"]): row for row in rows_of(out / "group_medians.csv")}
    for name in ("sub-01/ses-b/dwi/sub-01_ses-b", "sub-02/dwi/sub-02_run-2"):
        labels, _ = read_volume(tree / "derivatives" / "manual" / f"{name}_dseg.nii.gz")
        table = (tree / "derivatives" / "manual" / f"{name}_dseg.tsv").read_text().splitlines()
        code = int(next(line.split("\t")[0] for line in table if line.endswith("\tplacenta rim")))
        with EstimateStore(out / f"{name}_nlls.h5") as store:
            counted = np.isin(store["outcome"], codes)
            here = labels[tuple(store.index[:].T)] == code
            for region, inside in (("all", np.ones_like(here)), ("placenta rim", here)):
                row = rows[f"{name}_dwi.nii.gz", region, key]
                values = store[key][inside & counted].astype(float)
                assert (int(row["voxels"]), int(row["n"])) == (inside.sum(), len(values))
                assert float(row["median"]) == pytest.approx(np.median(values), rel=1e-6)
    assert row["participant"] == "02" and row["session"] == "" and row["outlier"] == "0"


def test_shares_of_outcomes(group):
    out, found = group
    rows = rows_of(out / "group_outcomes.csv")
    assert [row["participant"] for row in rows] == ["01", "01", "02", "02"]
    with EstimateStore(found.scans[0].path) as store:
        assert float(rows[0]["share_converged"]) == pytest.approx(np.mean(store["outcome"] == 1), rel=1e-5)
    assert rows[0]["echo_time"] == "0.076" and rows[0]["tesla"] == "1.5"
    assert rows[0]["bvalues"] == "0 10 20 50 80 100 150 200 300 500"


def test_summaries_are_over_the_scans(group):
    _, found = group
    one = next(one for one in summaries(found) if one.key == "d" and one.region == "all")
    medians = [row.row.median for row in found.rows if row.row.key == "d" and row.row.region == "all"]
    assert one.scans == 4 and one.median == pytest.approx(np.median(medians)) and one.largest == max(medians)


def test_the_page_is_one_file(group):
    out, _ = group
    page = (out / "group.html").read_text()
    assert "http" not in page and "placenta rim" in page and "data:image/png;base64" in page
    assert "More than one protocol" not in page


def test_modified_z_scores():
    """0.6745 (x - median) / MAD, by hand: median 5.5, MAD 2.5 of 1..10; and the published rule for a MAD of 0."""
    x = np.arange(1.0, 11.0)
    np.testing.assert_allclose(modified_z(x), 0.6745 * (x - 5.5) / 2.5, rtol=1e-12)
    x[9] = 100
    found = modified_z(x)
    assert abs(found[9]) > LIMIT and np.all(np.abs(found[:9]) < LIMIT)
    assert np.isnan(modified_z(x[: FEWEST - 1])).all()
    missing = modified_z([*x, math.nan])
    assert math.isnan(missing[-1]) and np.isfinite(missing[:-1]).all()
    same = np.r_[np.ones(9), 2.0]  # MAD 0; mean absolute deviation 0.1
    np.testing.assert_allclose(modified_z(same), [0] * 9 + [1 / (1.253314 * 0.1)], rtol=1e-6)
    assert not modified_z(np.ones(12)).any()


def test_a_scan_that_stands_out_is_told(tree, tmp_path, group):
    """Ten copies of one scan's results, with small changes, and one of them moved: that one is named on the page."""
    from ivimsc.bids.group import Group, _with_scores, write_group

    _, found = group
    first = [row for row in found.rows if row.scan == found.scans[0]]
    rows = []
    for k in range(FEWEST):
        scan = found.scans[0]._replace(participant=f"{k:02d}", series=f"sub-{k:02d}/dwi/sub-{k:02d}_dwi.nii.gz")
        factor = 1 + 0.01 * (k % 3) if k != 7 else 3.0
        rows += [row._replace(scan=scan, row=row.row._replace(median=factor * row.row.median)) for row in first]
    scans = list({row.scan.series: row.scan for row in rows}.values())
    write_group(tmp_path, Group(scans, _with_scores(rows), [("sub-x", "why <b>")]), tree)
    odd = {row["participant"] for row in rows_of(tmp_path / "group_medians.csv") if row["outlier"] == "1"}
    assert odd == {"07"}
    page = (tmp_path / "group.html").read_text()
    assert 'href="sub-07.html">sub-07</a></td><td class="word">nlls' in page and "why &lt;b&gt;" in page


def test_another_protocol_is_told(study, tmp_path):
    (study / "sub-02" / "sub-02_dwi.json").write_text('{"EchoTime": 0.06}')
    out = tmp_path / "out"
    run_participants(StudyJob(study, out, participants=["01", "02"], sessions=()))
    run_group(StudyJob(study, out, methods=()))
    assert "More than one protocol" in (out / "group.html").read_text()


def test_results_that_cannot_be_read_are_named_and_the_rest_is_told(group, tree, tmp_path):
    out = shutil.copytree(group[0], tmp_path / "out")
    path = out / "sub-02" / "dwi" / "sub-02_run-1_nlls.h5"
    path.write_bytes(path.read_bytes()[:2000])
    (out / "sub-01" / "ses-a" / "dwi" / "sub-01_ses-a_nlls.h5.json").unlink()
    found, _ = run_group(StudyJob(tree, out, methods=()))
    assert len(found.scans) == 2
    assert [file.rpartition("/")[2] for file, _ in found.unread] == ["sub-01_ses-a_nlls.h5", "sub-02_run-1_nlls.h5"]
    assert "no record of a finished fit" in (out / "group.html").read_text()
    with pytest.raises(InputError, match="found no finished fit by bayes"):
        run_group(StudyJob(tree, out, methods=("bayes",)))
    with pytest.raises(InputError, match="found no such folder"):
        run_group(StudyJob(tree, tmp_path / "none"))
