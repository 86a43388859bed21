"""SCDNN on a GPU: `fit` leads voxels through the kernels of `around_units` and `units`."""
