"""Small committed truth: literature values and the placenta phantom (see README.md)."""
