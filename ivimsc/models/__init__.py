"""Trained networks at work: their files, and what the methods that use them share. No torch here."""

from ivimsc.models.file import Model, read_model, write_model

__all__ = ["Model", "read_model", "write_model"]
