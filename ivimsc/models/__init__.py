"""Trained networks at work: their files, and what the methods that use them share. No torch here."""

from ivimsc.models.file import Layout, Model, read_model, require_layout, write_model

__all__ = ["Layout", "Model", "read_model", "require_layout", "write_model"]
