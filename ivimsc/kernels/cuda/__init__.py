"""The kernels on a GPU: one thread per voxel, from the same formulas as the CPU's lanes."""
