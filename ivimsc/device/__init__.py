"""Where kernels run: the choice of the device, threads on the CPU, and chunks of voxels through a GPU."""
