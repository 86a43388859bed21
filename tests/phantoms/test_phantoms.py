"""The phantoms: tissue values as in the table, pictures as in anatomy, the same for the same seed."""

import numpy as np
import pytest

from ivimsc.phantoms import make_phantom
from ivimsc.phantoms.literature import tissues
from ivimsc.physics.parameters import Bounds

SMALL = {"uniform": (20, 20, 5), "placenta": (64, 64, 5), "brain": (64, 64, 5), "abdomen": (88, 64, 5)}
ANATOMICAL = ["placenta", "brain", "abdomen"]


@pytest.fixture(scope="module", params=list(SMALL))  # the cohorts: tests/phantoms/test_cohort.py
def phantom(request):
    made = make_phantom(request.param, shape=SMALL[request.param])
    made.name = request.param
    return made


class TestEveryPhantom:
    def test_truth_lies_inside_the_bounds_of_a_fit(self, phantom):
        truth, bounds = phantom.read(0, len(phantom)).truth, Bounds()
        for key, (lower, upper) in (("f", bounds.f), ("d", bounds.D), ("dstar", bounds.Dstar)):
            assert lower < truth[key].min() and truth[key].max() < upper
        assert truth["s0"].min() > 0
        assert (truth["dstar"] > truth["d"]).all()

    def test_index_names_each_voxel_of_the_volume_once(self, phantom):
        index = phantom.read(0, len(phantom)).index
        shape = phantom.geometry.shape
        assert index.dtype == np.int32 and index.shape == (len(phantom), 3)
        flat = np.ravel_multi_index(tuple(index.T), shape, order="F")
        assert (np.diff(flat) > 0).all()  # x runs fastest

    def test_blocks_join_to_the_whole(self, phantom):
        n = len(phantom)
        whole, parts = phantom.read(0, n), [phantom.read(a, min(a + 777, n)) for a in range(0, n, 777)]
        for key in ("s0", "f", "d", "dstar"):
            np.testing.assert_array_equal(whole.truth[key], np.concatenate([p.truth[key] for p in parts]))
            assert whole.truth[key].dtype == np.float32
        np.testing.assert_array_equal(whole.index, np.concatenate([p.index for p in parts]))
        np.testing.assert_array_equal(whole.tissue, np.concatenate([p.tissue for p in parts]))

    def test_same_seed_same_truth_other_seed_other_truth(self, phantom):
        again, other = (make_phantom(phantom.name, seed, shape=SMALL[phantom.name]) for seed in (0, 1))
        first = phantom.read(0, len(phantom))
        np.testing.assert_array_equal(first.truth["f"], again.read(0, len(again)).truth["f"])
        changed = other.read(0, len(other))
        np.testing.assert_array_equal(first.tissue, changed.tissue)  # the anatomy is not part of the draw
        assert not np.array_equal(first.truth["f"], changed.truth["f"])

    def test_every_tissue_that_is_named_is_there(self, phantom):
        assert set(np.unique(phantom.read(0, len(phantom)).tissue)) == set(phantom.tissue_names)

    @pytest.mark.parametrize("shape", [(2, 3, 4), (7, 5, 1), (16, 1, 2)])
    def test_any_shape_works(self, phantom, shape):
        made = make_phantom(phantom.name, shape=shape)
        assert made.geometry.shape == shape
        assert 0 < len(made) <= np.prod(shape)


class TestAnatomy:
    def test_the_placenta_has_the_papers_matrix(self):
        phantom = make_phantom("placenta")
        assert phantom.geometry.shape == (256, 256, 15)
        assert phantom.geometry.zooms == pytest.approx((1.25, 1.25, 4.0))
        assert 0.3 < len(phantom) / (256 * 256 * 15) < 0.7  # the uterus fills about half of the picture
        block = phantom.read(0, len(phantom))
        names = {name: code for code, name in phantom.tissue_names.items()}

        def median(key, tissue):
            return np.median(block.truth[key][block.tissue == names[tissue]])

        assert median("f", "placenta core") > median("f", "placenta rim") > median("f", "septum")
        assert median("dstar", "placenta core") > median("dstar", "placenta rim")
        assert median("f", "amniotic fluid") < 0.02
        assert median("d", "amniotic fluid") == pytest.approx(3.04e-3, rel=0.01)  # water at 37 °C
        organ = np.isin(block.tissue, [names["placenta core"], names["placenta rim"]])
        assert block.truth["f"][organ].mean() == pytest.approx(0.26, abs=0.04)  # Moore 2000: 26 ± 6 %

    @pytest.mark.parametrize("name", ANATOMICAL)
    def test_tissue_means_are_those_of_the_table(self, name):
        phantom = make_phantom(name, shape=tuple(2 * n for n in SMALL[name]))
        block, table = phantom.read(0, len(phantom)), tissues(name)
        blended = {"placenta core", "placenta rim"}
        for code, tissue in phantom.tissue_names.items():
            here = block.tissue == code
            if here.sum() < 4000 or tissue in blended:
                continue
            for key, row in (("s0", "S0"), ("f", "f"), ("d", "D"), ("dstar", "Dstar")):
                mean, sd = getattr(table[tissue], row)
                # The spread is smooth, so an organ holds few independent values: half an SD is a loose bound.
                assert abs(block.truth[key][here].mean() - mean) < 0.5 * sd, (tissue, key)

    @pytest.mark.parametrize("name", ANATOMICAL)
    def test_a_coarser_matrix_shows_the_same_picture(self, name):
        def volume(shape):
            phantom = make_phantom(name, shape=shape)
            block = phantom.read(0, len(phantom))
            labels = np.zeros(phantom.geometry.shape, np.uint8)
            f = np.zeros(phantom.geometry.shape, np.float32)
            labels[tuple(block.index.T)], f[tuple(block.index.T)] = block.tissue, block.truth["f"]
            return labels, f

        x, y, z = SMALL[name]
        coarse, coarse_f = volume((x, y, z))
        fine, fine_f = volume((3 * x, 3 * y, z))  # the middle one of 3 × 3 voxels has the same centre
        same = coarse == fine[1::3, 1::3]
        assert same.mean() > 0.95  # distance transforms (brain) depend on the matrix at tissue borders
        np.testing.assert_allclose(coarse_f[same], fine_f[1::3, 1::3][same], rtol=2e-3, atol=1e-4)  # float32 places
