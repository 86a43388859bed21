"""Two pools, the tissue with kurtosis: least squares (`method`)."""
