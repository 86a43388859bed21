"""Simulation: the forward model, phantoms with noise, and data simulated again from a fit."""

from ivimsc.simulate.phantom import (
    DEFAULT_BVALUES,
    PHANTOMS,
    simulate_phantom,
    simulate_signals,
    write_from_estimates,
    write_nifti,
    write_phantom,
)

__all__ = [
    "DEFAULT_BVALUES",
    "PHANTOMS",
    "simulate_phantom",
    "simulate_signals",
    "write_from_estimates",
    "write_nifti",
    "write_phantom",
]
