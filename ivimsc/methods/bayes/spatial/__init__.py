"""The spatial prior: each voxel's prior is a mixture of what its neighbours know of themselves, and of the population."""
