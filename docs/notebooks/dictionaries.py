# %% [markdown]
# # Comparing dictionaries
#
# Sparse coding writes a signal as a few exponentials out of a dictionary of 600. What does the choice of the dictionary change?
# This is the file `docs/notebooks/dictionaries.py`.

# %%
import numpy as np

import ivimsc
from ivimsc.physics.dictionary import make_dictionary
from ivimsc.store.dictionaries import write_dictionary

b = np.array([0, 10, 20, 50, 80, 100, 150, 200, 300, 500.0])  # s/mm²

# %% [markdown]
# 2,000 voxels with known f, D and D*, Rician noise, SNR 100.

# %%
draw = np.random.default_rng(0)
n, sigma = 2000, 0.01
f = draw.uniform(0.05, 0.5, n)
D, Dstar = draw.uniform(0.5e-3, 2.5e-3, n), draw.uniform(10e-3, 100e-3, n)  # mm²/s
clean = ivimsc.simulate_signals(1.0, f, D, Dstar, b)
noise = draw.normal(0, sigma, (2, *clean.shape))
signals = np.hypot(clean + noise[0], noise[1])

# %% [markdown]
# Ten b-values do not tell 600 exponentials apart. The singular values of the dictionary say how many directions there are above the noise.

# %%
ranges = (1e-5, 5e-3), (5e-3, 0.2)  # of D and D*, the defaults
wide = make_dictionary(b, "log", (300, 300), *ranges)
values = np.linalg.svd(wide.matrix, compute_uv=False)
print("singular values over the largest:")
print(" ".join(f"{value:.0e}" for value in values / values[0]))

# %% [markdown]
# Four dictionaries: the default; a coarse one; one that ends where the truth ends, which is knowledge of the tissue; and one out of a file, as a
# trained network leaves it. All are solved exactly; the map `gap` proves it for every voxel.

# %%
known = (0.5e-3, 2.5e-3), (10e-3, 100e-3)
write_dictionary("narrow.h5", make_dictionary(b, "log", (60, 60), *known))
choices = {
    "600 atoms (default)": {},
    "60 atoms": {"n_d": 30, "n_dstar": 30},
    "true ranges": {"d_range": known[0], "dstar_range": known[1]},
    "true ranges, a file": {"dictionary": "narrow.h5"},
}
fits = {}
for name, options in choices.items():
    fits[name] = ivimsc.fit_signals(signals, b, "ista", **options)


# %%
def rmse(fit):
    """Root mean squared errors of f, D and D* [µm²/ms], where the code has both parts."""
    pairs = (fit.f, f), (1e3 * fit.D, 1e3 * D), (1e3 * fit.Dstar, 1e3 * Dstar)
    return [np.sqrt(np.nanmean((found - true) ** 2)) for found, true in pairs]


print("dictionary            RMSE f  D [µm²/ms]  D*      atoms   largest gap")
for name, fit in fits.items():
    errors = "{:8.3f}{:8.3f}{:9.2f}".format(*rmse(fit))
    print(f"{name:20}{errors}{fit.atoms.mean():12.1f}{np.nanmax(fit.gap):13.0e}")

# %% [markdown]
# The number of atoms changes little, their range a lot: what helps is knowing the tissue. `nlls` has no dictionary; with the same ranges
# as bounds it gains in the same way.

# %%
bounds = {"d_bounds": known[0], "dstar_bounds": known[1]}
for name, options in {"nlls": {}, "nlls, true ranges": bounds}.items():
    fit = ivimsc.fit_signals(signals, b, "nlls", **options)
    print(f"{name:20}{{:8.3f}}{{:8.3f}}{{:9.2f}}".format(*rmse(fit)))

# %%
# the spectrum of one voxel: weights over diffusivity
from matplotlib import pyplot

voxel = int(np.argmax(f))
grids = {
    "600 atoms (default)": wide,
    "true ranges": make_dictionary(b, "log", (300, 300), *known),
}
figure, panels = pyplot.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for axes, (name, grid) in zip(panels, grids.items(), strict=True):
    spectrum = fits[name].spectrum
    row = slice(*spectrum.indptr[voxel : voxel + 2])
    places = 1e3 * np.concatenate([grid.D, grid.Dstar])[spectrum.indices[row]]
    axes.vlines(places, 0, spectrum.data[row], lw=3)
    axes.plot([1e3 * D[voxel], 1e3 * Dstar[voxel]], [1 - f[voxel], f[voxel]], "k.")
    axes.set(xscale="log", ylabel="weight", title=f"{name}; dots: the truth", ylim=(0, 0.6))
axes.set_xlabel("D, D* [µm²/ms]")
figure
