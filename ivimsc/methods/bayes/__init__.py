"""Bayesian estimation by weighted points (`method`)."""
