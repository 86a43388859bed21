"""Signal physics: parameters, protocols, the bi-exponential signal, noise and bounds (numpy and numba only)."""
