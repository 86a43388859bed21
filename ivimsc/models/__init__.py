"""Trained networks at work: their files, and what the methods that use them share. No torch here."""

from ivimsc.models.file import Model, read_model, write_model
from ivimsc.models.layout import Layout, layers_layout, require_layout

__all__ = ["Layout", "Model", "layers_layout", "read_model", "require_layout", "write_model"]
