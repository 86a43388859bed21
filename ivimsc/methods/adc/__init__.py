"""Mono-exponential fit, the apparent diffusion coefficient (`method`)."""
