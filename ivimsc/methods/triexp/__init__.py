"""Three pools: least squares (`method`)."""
