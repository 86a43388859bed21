"""S0 from proton density, T1 and T2: closed forms, the Bloch equations, and published times."""

import csv
import re

import numpy as np
import pytest

from ivimsc.errors import InputError
from ivimsc.phantoms.literature import data_folder, tissues
from ivimsc.phantoms.relaxation import SCANS, relative_signals, relaxation, spin_echo_signal


def test_limits():
    assert spin_echo_signal(0.7, 1000, 100, 0, 1e9) == pytest.approx(0.7)  # nothing decays, all recovers
    assert spin_echo_signal(1, 1000, 100, 100, 1e9) == pytest.approx(np.exp(-1))
    assert spin_echo_signal(1, 1000, 1e9, 0, 1000 * np.log(2)) == pytest.approx(0.5)
    # a short repetition time against T1: expm1 keeps its digits
    assert spin_echo_signal(1, 1e9, 1e9, 0, 1) == pytest.approx(1e-9, rel=1e-8)


def test_the_steady_state_of_the_bloch_equations():
    """Pulses of 90°, one after another, each followed by decay and recovery in small steps: to the size of the steps."""
    t1, t2, te, tr, dt = 800.0, 60.0, 70.0, 1500.0, 0.05
    mz = 1.0
    for _ in range(8):
        mxy, mz = mz, 0.0
        for step in range(round(tr / dt)):
            if step == round(te / dt):
                signal = mxy
            mxy -= dt * mxy / t2
            mz += dt * (1 - mz) / t1
    assert spin_echo_signal(1, t1, t2, te, tr) == pytest.approx(signal, rel=2e-3)


def test_published_relaxation_times_of_the_abdomen():
    """de Bazelaire et al., doi:10.1148/radiol.2303021331: T1, T2 [ms] of the liver at 1.5 T 586, 46, at 3 T 809, 34."""
    assert relaxation("abdomen")["liver"][1:] == (586, 46) and relaxation("abdomen", 3.0)["liver"][1:] == (809, 34)
    shorter = relative_signals("abdomen", te=30.0)["muscle"]
    assert shorter > relative_signals("abdomen")["muscle"]  # T2 of muscle is below that of the reference
    with pytest.raises(InputError, match="field: found 7 T, expected 1.5 or 3"):
        relaxation("abdomen", 7.0)
    with pytest.raises(InputError, match="field: found 3 T, at which T1 and T2 of placenta core are not in"):
        relative_signals("placenta", 3.0)


def test_the_phantoms_have_the_derived_s0():
    """Every row of data/literature.csv that says so holds the number that follows, rounded to three digits."""
    with (data_folder() / "literature.csv").open(encoding="utf-8", newline="") as lines:
        derived = [row for row in csv.DictReader(lines) if row["notes"].startswith("derived")]
    found = {(organ, name): s0 for organ in SCANS for name, s0 in relative_signals(organ).items()}
    assert {(row["organ"], row["tissue"]) for row in derived} == set(found)
    for row in derived:
        scan = SCANS[row["organ"]]
        assert (
            row["parameter"] == "S0"
            and f"TE {scan.te:g} ms, TR {scan.tr:g} ms and 1.5 T, over {scan.reference};" in row["notes"]
        )
        assert float(row["mean"]) == pytest.approx(found[row["organ"], row["tissue"]], rel=5e-3)
        assert tissues(row["organ"])[row["tissue"]].S0[0] == float(row["mean"])


def test_rows_of_relaxation_have_a_doi_or_say_assumption_and_equal_the_source_table():
    numbers = re.compile(r"[\d.]+")
    with (data_folder() / "sources.csv").open(encoding="utf-8", newline="") as lines:
        sources = [row for row in csv.DictReader(lines) if row["parameter"].startswith("T1; T2")]
    with (data_folder() / "relaxation.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            assert row["doi"] or "assumption" in row["notes"]
            assert float(row["pd"]) > 0 and 0 < float(row["t2"]) < float(row["t1"])
            if row["doi"]:
                published = [s for s in sources if row["doi"] in s["doi"].split("; ")]
                values = [float(x) for s in published for x in numbers.findall(s["value"] + " " + s["quote"])]
                assert float(row["t2"]) in values and (float(row["t1"]) in values), row
