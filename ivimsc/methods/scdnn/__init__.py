"""SCDNN, the paper's sparse-coding network with a learned dictionary.

Where is what:

- `method`: the options, and the fit of a data set with a trained model. Here to begin reading.
- `units`: the units of the network, as Numba kernels. `codes`: the code of each voxel, its sums, f, D and D*; on the CPU.
- `general`: the model for any protocol. `general.canonical`: its coordinates; `general.levels`: its weights for a protocol
  and a noise level; `general.network`: its network and its training data in torch.
- `on_gpu`: all of a fit on an NVIDIA card. `on_gpu.fit` leads, `on_gpu.around_units` and `on_gpu.units` are the kernels.
- `network`: the network for one protocol in torch, for training. `slopes`: the way back through the units for it.
"""
