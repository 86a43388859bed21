"""Sparse coding over a fixed dictionary (`method`)."""
