"""Learning without truth: training voxels drawn from a population, and a training loop for them in numpy and Numba. No torch.

- `population`: the population of a data set, and training voxels drawn from it.
- `loop`: the training loop. A method brings a `Learner`, which knows its weights and their slopes.
- `layers`: plain layers with their slopes. `spread`: learns how large the errors of a network are.
"""
