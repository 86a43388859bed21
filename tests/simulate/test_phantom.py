"""The forward model, and phantoms with noise: nothing but the voxel's number decides its noise."""

import dataclasses

import numpy as np
import pytest

from ivimsc.device.launch import Launch, usable_cores
from ivimsc.errors import InputError
from ivimsc.nifti import read_series, read_volume
from ivimsc.numerics.random_numbers import NOISE, normals
from ivimsc.physics.noise import rician_mean, rician_variance
from ivimsc.simulate import DEFAULT_BVALUES, simulate_phantom, simulate_signals, write_nifti, write_phantom
from ivimsc.store import VoxelStore

B = np.array(DEFAULT_BVALUES)
TWO_THREADS = Launch("cpu", min(2, usable_cores()))


def equation_1(S0, f, D, Dstar, b):
    return S0 * ((1 - f) * np.exp(-b * D) + f * np.exp(-b * Dstar))


class TestSignals:
    def test_equation_1_in_broadcast_shapes(self):
        S0, f = np.array([[1.0], [250.0]]), np.array([0.0, 0.3, 1.0])
        signals = simulate_signals(S0, f, 1.2e-3, 40e-3, B)
        assert signals.shape == (2, 3, 10) and signals.dtype == np.float64
        expected = equation_1(S0[..., None], f[:, None], 1.2e-3, 40e-3, B)
        np.testing.assert_allclose(signals, expected, rtol=1e-14)  # exp of numpy and of libm: a last digit or two

    def test_scalars_and_one_bvalue(self):
        assert simulate_signals(2.0, 0.1, 1e-3, 2e-2, [0.0]).shape == (1,)
        assert simulate_signals(2.0, 0.1, 1e-3, 2e-2, 0)[0] == 2.0

    def test_no_voxel(self):
        assert simulate_signals(np.zeros(0), 0.1, 1e-3, 2e-2, B).shape == (0, 10)

    def test_float32_in_float32_out(self):
        parameters = [np.float32(v) for v in (1, 0.2, 1e-3, 30e-3)]
        assert simulate_signals(*parameters, B).dtype == np.float32
        assert simulate_signals(np.int16(1), *parameters[1:], B).dtype == np.float64

    def test_non_contiguous_input_and_order_of_bvalues(self):
        f = np.linspace(0, 1, 20)[::3]
        signals = simulate_signals(1.0, f, 1e-3, 50e-3, B[::-1])
        np.testing.assert_array_equal(signals[:, ::-1], simulate_signals(1.0, f.copy(), 1e-3, 50e-3, B))

    def test_a_nan_voxel_is_nan_and_its_neighbour_is_not(self):
        signals = simulate_signals(1.0, [0.2, np.nan, 0.2], 1e-3, 50e-3, B)
        assert np.isnan(signals[1]).all()
        np.testing.assert_array_equal(signals[0], signals[2])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((1, 1.5, 1e-3, 5e-2, B), "f: found 1.5, expected 0..1"),
            ((1, 0.1, -1e-3, 5e-2, B), "D: found -0.001, expected >= 0"),
            ((1, 0.1, 1e-3, -1, B), "Dstar: found -1, expected >= 0"),
            ((-1, 0.1, 1e-3, 5e-2, B), "S0: found -1, expected >= 0"),
            ((1, 0.1, 1e-3, 5e-2, [0, -5]), r"bvalues: found \[0.0, -5.0\], expected a list of finite numbers >= 0"),
            ((1, 0.1, 1e-3, 5e-2, [0, np.nan]), "expected a list of finite numbers >= 0"),
            ((1, 0.1, 1e-3, 5e-2, []), "expected a list of finite numbers >= 0"),
            ((1, 0.1, 1e-3, 5e-2, "ten"), "bvalues: found 'ten', expected numbers"),
            ((np.ones(2), np.zeros(3), 1e-3, 5e-2, B), r"found shapes \(2,\), \(3,\)"),
        ],
    )
    def test_bad_input_is_one_line(self, arguments, message):
        with pytest.raises(InputError, match=message) as caught:
            simulate_signals(*arguments)
        assert "\n" not in str(caught.value)


class TestNoise:
    def test_none_is_the_forward_model(self):
        voxels = simulate_phantom("uniform", noise="none", voxels=500)
        t = {key: values.astype(np.float64) for key, values in voxels.truth.items()}
        expected = simulate_signals(t["s0"], t["f"], t["d"], t["dstar"], B)
        np.testing.assert_array_equal(voxels.signals, expected.astype(np.float32))
        assert voxels.attrs["sigma"] == 0

    @pytest.mark.parametrize("noise", ["rician", "gaussian"])
    def test_residuals_have_the_moments_of_the_noise(self, noise):
        snr, n = 5.0, 20_000
        noisy = simulate_phantom("uniform", snr=snr, noise=noise, voxels=n)
        clean = simulate_phantom("uniform", noise="none", voxels=n).signals.astype(np.float64)
        mean, variance = clean, np.full_like(clean, 1 / snr**2)
        if noise == "rician":
            mean, variance = rician_mean(clean, 1 / snr), rician_variance(clean, 1 / snr)
        z = (noisy.signals - mean) / np.sqrt(variance)
        assert np.all(np.abs(z.mean(axis=0)) < 4 / np.sqrt(n))  # four standard errors, at every b-value
        assert np.all(np.abs(z.var(axis=0) - 1) < 4 * np.sqrt(2.5 / n))
        correlation = np.corrcoef(z.T) - np.eye(len(B))
        assert np.abs(correlation).max() < 4.5 / np.sqrt(n)  # 45 pairs of b-values

    @pytest.mark.parametrize("noise", ["rician", "gaussian"])
    def test_every_draw_is_that_of_seed_voxel_and_bvalue(self, noise):
        """Equation (11) in numpy, with the very draws of the seed: neither truth nor noise may use another one."""
        noisy = simulate_phantom("uniform", snr=8, seed=5, noise=noise, voxels=40)
        clean = simulate_phantom("uniform", seed=5, noise="none", voxels=40).signals.astype(np.float64)
        draws = np.array([[normals(5, NOISE, voxel, k) for k in range(len(B))] for voxel in range(40)])
        real, imaginary = clean + draws[..., 0] / 8, draws[..., 1] / 8
        expected = np.hypot(real, imaginary) if noise == "rician" else real
        np.testing.assert_allclose(noisy.signals, expected, atol=2e-7)  # float32 of values up to 1.5

    def test_neither_threads_nor_blocks_change_a_bit(self, monkeypatch):
        one = simulate_phantom("uniform", voxels=40_000, seed=3, launch=Launch("cpu", 1))
        two = simulate_phantom("uniform", voxels=40_000, seed=3, launch=TWO_THREADS)
        np.testing.assert_array_equal(one.signals, two.signals)
        monkeypatch.setattr("ivimsc.simulate.phantom.BLOCK", 1717)  # 4 times as many voxels at once
        three = simulate_phantom("uniform", voxels=40_000, seed=3, launch=TWO_THREADS)
        np.testing.assert_array_equal(one.signals, three.signals)

    def test_a_larger_phantom_begins_with_the_smaller(self):
        small, large = (simulate_phantom("uniform", voxels=n, seed=9) for n in (100, 5000))
        np.testing.assert_array_equal(small.signals, large.signals[:100])
        np.testing.assert_array_equal(small.truth["dstar"], large.truth["dstar"][:100])

    def test_seeds_differ_and_repeat(self):
        a, b, c = (simulate_phantom("uniform", voxels=100, seed=s).signals for s in (1, 1, 2))
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
        largest = simulate_phantom("uniform", voxels=100, seed=2**63 - 1).signals
        assert np.isfinite(largest).all()

    def test_snr_is_the_reference_s0_over_sigma(self):
        voxels = simulate_phantom("uniform", snr=20)
        assert voxels.attrs == {"phantom": "uniform", "snr": 20, "sigma": 0.05, "seed": 0, "noise": "rician"}

    def test_bvalues_come_in_rising_order(self):
        voxels = simulate_phantom("uniform", [500, 0, 20], voxels=10)
        np.testing.assert_array_equal(voxels.bvalues, [0, 20, 500])
        assert (voxels.signals[:, 0] > voxels.signals[:, 2]).all()


class TestNifti:
    def test_the_series_reads_back_as_the_same_voxels(self, tmp_path):
        voxels = simulate_phantom("abdomen", shape=(44, 32, 3))
        paths = {path.name: path for path in write_nifti(voxels, tmp_path / "new" / "folder")}
        assert all(path.is_file() for path in paths.values()) and len(paths) == 9
        series, bval, mask = (paths[f"abdomen_{end}"] for end in ("dwi.nii.gz", "dwi.bval", "mask.nii.gz"))
        again = read_series(series, bval, mask)
        np.testing.assert_array_equal(again.signals, voxels.signals)
        np.testing.assert_array_equal(again.bvalues, voxels.bvalues)
        np.testing.assert_array_equal(again.index, voxels.index)
        np.testing.assert_allclose(again.geometry.affine, voxels.geometry.affine, atol=1e-3)  # float32 in the header
        assert again.geometry.qform_code == again.geometry.sform_code == 1
        for key, values in voxels.truth.items():
            volume, _ = read_volume(paths[f"abdomen_model-ivim_desc-truth_param-{key}_dwimap.nii.gz"])
            np.testing.assert_array_equal(volume[tuple(voxels.index.T)], values)
            assert np.count_nonzero(volume) == len(voxels)
        labels, _ = read_volume(paths["abdomen_dseg.nii.gz"])
        np.testing.assert_array_equal(labels[tuple(voxels.index.T)], voxels.tissue)
        assert "1\tliver\n" in paths["abdomen_dseg.tsv"].read_text()

    def test_from_a_store_the_same_bytes(self, tmp_path):
        write_phantom(tmp_path / "a.h5", "uniform", voxels=50)
        with VoxelStore(tmp_path / "a.h5") as store:
            first = write_nifti(store, tmp_path / "a")
        second = write_nifti(simulate_phantom("uniform", voxels=50), tmp_path / "b")
        assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]

    def test_nothing_is_overwritten_and_nothing_else_written(self, tmp_path):
        (tmp_path / "uniform_dwi.bval").write_text("mine")
        voxels = simulate_phantom("uniform", voxels=50)
        with pytest.raises(InputError, match="uniform_dwi.bval: found an existing file"):
            write_nifti(voxels, tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["uniform_dwi.bval"]
        write_nifti(voxels, tmp_path, force=True)
        assert (tmp_path / "uniform_dwi.bval").read_text() != "mine"

    def test_measured_voxels_are_refused(self, tmp_path):
        measured = dataclasses.replace(simulate_phantom("uniform", voxels=5), truth=None)
        with pytest.raises(InputError, match="found no truth"):
            write_nifti(measured, tmp_path)


class TestStore:
    @pytest.mark.parametrize(("name", "size"), [("uniform", {"voxels": 5003}), ("placenta", {"shape": (40, 40, 3)})])
    def test_streamed_equals_in_memory(self, tmp_path, monkeypatch, name, size):
        monkeypatch.setattr("ivimsc.simulate.phantom.WRITE_BLOCK", 7_777)  # 777 voxels of ten b-values
        n = write_phantom(tmp_path / "a.h5", name, snr=20, seed=4, **size)
        voxels = simulate_phantom(name, snr=20, seed=4, **size)
        with VoxelStore(tmp_path / "a.h5") as store:
            assert len(store) == n == len(voxels)
            np.testing.assert_array_equal(store.read(0, n), voxels.signals)
            np.testing.assert_array_equal(store.index[:], voxels.index)
            np.testing.assert_array_equal(store.tissue, voxels.tissue)
            for key in voxels.truth:
                np.testing.assert_array_equal(store.truth[key], voxels.truth[key])
            assert store.tissue_names == voxels.tissue_names
            assert store.attrs["snr"] == 20 and store.attrs["phantom"] == name
            assert store.signals_sha256 == voxels.signals_sha256
            assert store.geometry.shape == voxels.geometry.shape

    def test_an_existing_file_is_kept_without_force(self, tmp_path):
        path = tmp_path / "a.h5"
        path.write_text("precious")
        with pytest.raises(InputError, match="a.h5"):
            write_phantom(path, "uniform", voxels=10)
        assert path.read_text() == "precious"
        write_phantom(path, "uniform", voxels=10, force=True)
        with VoxelStore(path) as store:
            assert len(store) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "heart"}, "found 'heart', expected one of uniform, placenta, brain, abdomen"),
        ({"snr": 0}, "snr: found 0, expected a number > 0"),
        ({"snr": float("nan")}, "snr: found nan"),
        ({"seed": -1}, "seed: found -1, expected"),
        ({"seed": 2**63}, "seed: found 9223372036854775808, expected"),
        ({"noise": "pink"}, "noise: found 'pink', expected one of rician, gaussian, none"),
        ({"voxels": 0}, "voxels: found 0, expected at least 1"),
        ({"voxels": 5, "shape": (1, 1, 1)}, "found both"),
        ({"shape": (4, 4)}, "shape: found 4,4, expected X,Y,Z"),
        ({"shape": (4, 0, 4)}, "shape: found 4,0,4, expected X,Y,Z"),
        ({"shape": (40_000, 1, 1)}, "shape: found 40000,1,1, expected X,Y,Z"),
        ({"name": "placenta", "voxels": 5}, "voxels: found 5 for phantom placenta"),
        ({"bvalues": [0, 10, 10]}, "bvalues: found 0, 10, 10, expected distinct"),
        ({"bvalues": [-1, 10]}, "bvalues: found"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        simulate_phantom(**{"name": "uniform", **options})
    assert "\n" not in str(caught.value)
