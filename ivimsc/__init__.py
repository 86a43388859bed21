"""ivimsc fits the intravoxel incoherent motion (IVIM) model to diffusion MRI, whole volumes in seconds.

A NIfTI series and its .bval file are packed into voxels (`ivimsc.nifti`, `ivimsc.store.VoxelStore`), a direction
average per b-value with the mask applied. A method fits S0, f, D and D* to every voxel (`ivimsc.methods`,
`fit_signals`) in parallel kernels (`ivimsc.device`), and says of each voxel how it ended (`Outcome`). The `Estimates`
go, chunk by chunk, into an estimate store, and from there to NIfTI maps (`ivimsc.maps`), comparisons
(`ivimsc.compare`) and figures. `simulate_signals` and the phantoms (`ivimsc.simulate`) make data whose truth is known.
The command line (``ivimsc --help``) is a thin layer over these. b in s/mm², D and D* in mm²/s throughout.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Estimates": "ivimsc.estimates",
    "Outcome": "ivimsc.outcome",
    "InputError": "ivimsc.errors",
    "VoxelStore": "ivimsc.store",
    "EstimateStore": "ivimsc.store",
    "fit_signals": "ivimsc.fit",
    "simulate_signals": "ivimsc.simulate",
    "design": "ivimsc.planning",
}

__all__ = [*_HOMES, "__version__", "plot"]


def __getattr__(name: str) -> Any:
    """Import public names on first use, so that ``import ivimsc`` and ``ivimsc --help`` stay light."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "plot":  # a module, loaded with matplotlib when it is asked for
        return importlib.import_module("ivimsc.plot")
    raise AttributeError(f"module 'ivimsc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
