"""``ivimsc info``: this machine, and what a file holds."""

import h5py

from ivimsc.fit.inputs import general_model

SMALL = ("--phantom", "uniform", "--voxels", 500)


def test_this_machine(ivimsc):
    assert ivimsc("info") == 0
    for part in ("Python", "numba", "cores usable", "GPU", "cache", "[learn]", "method nlls", "method segmented"):
        assert part in ivimsc.out
    assert ivimsc.err == ""


def test_a_method_lists_its_options(ivimsc, refused):
    assert ivimsc("info", "segmented") == 0
    for part in ("split", "200", "b-values from it on fit D", "d_bounds", "0,0.005", "Le Bihan"):
        assert part in ivimsc.out
    refused("info", "leastsquares", says=["'leastsquares'", "segmented, nlls"])


def test_stores(ivimsc, tmp_path):
    assert ivimsc("simulate", *SMALL, "--out", tmp_path / "s.h5") == 0
    assert ivimsc("fit", tmp_path / "s.h5", "--out", tmp_path, "--no-maps") == 0
    assert ivimsc("info", tmp_path / "s.h5") == 0
    assert "500 voxels" in ivimsc.out and "truth:    yes" in ivimsc.out
    assert ivimsc("info", tmp_path / "s_nlls.h5") == 0
    assert "nlls on cpu" in ivimsc.out and "outcome 1: converged" in ivimsc.out


def test_other_files(refused, tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5")
    refused("info", tmp_path / "text.h5", says=["text.h5", "expected"])
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    refused("info", tmp_path / "foreign.h5", says=["foreign.h5", "expected"])
    refused("info", tmp_path / "none.h5", says=["none.h5", "expected"])


def test_verify(ivimsc, refused, tmp_path):
    assert ivimsc("simulate", "--phantom", "uniform", "--voxels", 30_000, "--out", tmp_path / "s.h5") == 0
    assert ivimsc("info", "--verify", tmp_path / "s.h5") == 0 and "checksums: all agree" in ivimsc.out
    with h5py.File(tmp_path / "s.h5") as file:
        place = file["truth/d"].id.get_chunk_info(0).byte_offset
    data = bytearray((tmp_path / "s.h5").read_bytes())
    data[place + 5000] ^= 16
    (tmp_path / "s.h5").write_bytes(data)
    assert ivimsc("info", tmp_path / "s.h5") == 0  # the truth is not read
    refused("info", "--verify", tmp_path / "s.h5", says=["s.h5", "truth/d", "checksum"])
    refused("info", "--verify", says=["--verify", "expected"])


def test_verify_a_model(ivimsc):
    assert ivimsc("info", "--verify", general_model().source) == 0 and "checksums: all agree" in ivimsc.out
