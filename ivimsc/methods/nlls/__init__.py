"""Full non-linear least squares (`method`)."""
