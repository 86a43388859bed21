"""Numba building blocks shared by the methods, and the one place that decides where kernels run."""
