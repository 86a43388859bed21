"""Segmented least squares (`method`)."""
