"""The numbers that a posterior is told by, one row each: in the array of results (row, voxel), and of one voxel (row,).

Within the kernels S0 is that of the scaled signal, and D and D* are in µm²/ms; `posterior.finish` changes the units.
"""

__all__ = ["D", "DIFFUSIVITIES", "DSTAR", "DSTAR_MAX", "DSTAR_SD", "D_MAX", "D_SD", "ESS", "F", "F_MAX", "F_SD",
           "MAXIMUM", "RMSE", "ROWS", "S0", "SIGNALS"]  # fmt: skip

S0, F, D, DSTAR = 0, 1, 2, 3  # posterior means
RMSE = 4  # root of the mean squared residual at the means
F_SD, D_SD, DSTAR_SD = 5, 6, 7  # posterior standard deviations
ESS = 8  # effective sample size (Kish)
F_MAX, D_MAX, DSTAR_MAX = 9, 10, 11  # where the posterior density is largest
ROWS = 12

MAXIMUM = F_MAX  # the first row of the maximum, which a step of its own finds: the rows before it come from the weights
SIGNALS = (S0, RMSE)  # rows in units of the signal
DIFFUSIVITIES = (D, DSTAR, D_SD, DSTAR_SD, D_MAX, DSTAR_MAX)
