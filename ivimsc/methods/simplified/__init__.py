"""D from the high b-values and f from their intercept, without D* (`method`)."""
