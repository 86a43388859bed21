"""Simulation: the forward model, phantoms with noise, and data simulated again from a fit."""

from ivimsc.phantoms import PHANTOMS
from ivimsc.simulate.as_nifti import write_nifti
from ivimsc.simulate.forward import simulate_signals
from ivimsc.simulate.from_estimates import write_from_estimates
from ivimsc.simulate.phantom import DEFAULT_BVALUES, simulate_phantom, write_phantom

__all__ = [
    "DEFAULT_BVALUES",
    "PHANTOMS",
    "simulate_phantom",
    "simulate_signals",
    "write_from_estimates",
    "write_nifti",
    "write_phantom",
]
