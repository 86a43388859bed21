"""Training in torch: the one loop, the data that it learns from, and its checkpoint."""
