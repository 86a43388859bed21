"""The torch network of the q-space MLP."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from ivimsc.errors import InputError
from ivimsc.methods.mlp.network import Mlp
from ivimsc.methods.mlp.network import Options as MlpOptions
from tests.conftest import FIVE, phantom


def test_it_folds_its_standardisation():
    p = phantom(200, FIVE, snr=30)
    truth = torch.tensor(np.stack([p.f, p.D * 1e3, p.Dstar * 1e3], 1), dtype=torch.float32)
    net = Mlp(FIVE, MlpOptions(layers=2, width=20))
    net.standardise(torch.tensor(p.signals), truth)
    arrays, x = {k: a.numpy().astype(np.float64) for k, a in net.arrays().items()}, p.signals.astype(np.float64)
    for i in range(3):
        x = x @ arrays[f"weight{i}"].T + arrays[f"bias{i}"]
        x = np.maximum(x, 0) if i < 2 else x
    np.testing.assert_allclose(x, net(torch.tensor(p.signals)).detach().numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("options", "says"), [({"layers": 0}, "at least 1"), ({"dropout": 1.0}, "0 to below 1")])
def test_refused(options, says):
    with pytest.raises(InputError, match=says):
        MlpOptions(**options)
