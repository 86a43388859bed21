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
# 2,000 voxels with known f, D and D*, SNR 100.

# %%
draw = np.random.default_rng(0)
n, snr = 2000, 100
f, D, Dstar = draw.uniform(0.05, 0.5, n), draw.uniform(0.5e-3, 2.5e-3, n), draw.uniform(10e-3, 100e-3, n)
clean = ivimsc.simulate_signals(1.0, f, D, Dstar, b)
signals = np.hypot(clean + draw.normal(0, 1 / snr, clean.shape), draw.normal(0, 1 / snr, clean.shape))

# %% [markdown]
# Ten b-values do not tell 600 exponentials apart. The singular values of the dictionary say how many directions there are above the noise.

# %%
wide = make_dictionary(b, "log", (300, 300), (1e-5, 5e-3), (5e-3, 0.2))
values = np.linalg.svd(wide.matrix, compute_uv=False)
print("singular values over the largest:", np.array2string(values / values[0], precision=1))

# %% [markdown]
# Four dictionaries: the default; a coarse one; one that ends where the truth ends, which is knowledge of the tissue; and one out of a file, as a
# trained network leaves it. All are solved exactly; the map `gap` proves it for every voxel.

# %%
narrow = make_dictionary(b, "log", (60, 60), (0.5e-3, 2.5e-3), (10e-3, 100e-3))
write_dictionary("narrow.h5", narrow)
choices = {
    "600 atoms (default)": {},
    "60 atoms": {"n_d": 30, "n_dstar": 30},
    "true ranges": {"d_range": (0.5e-3, 2.5e-3), "dstar_range": (10e-3, 100e-3)},
    "true ranges, a file": {"dictionary": "narrow.h5"},
}
fits = {name: ivimsc.fit_signals(signals, b, "ista", **options) for name, options in choices.items()}
print(f"{'dictionary':22}{'RMSE f':>8}{'D':>8}{'D*':>8}{'atoms used':>12}{'largest gap':>13}   [D, D* in µm²/ms]")
for name, fit in fits.items():
    told = np.isfinite(fit.f) & np.isfinite(fit.D) & np.isfinite(fit.Dstar)
    errors = [
        np.sqrt(np.mean((found - true)[told] ** 2))
        for found, true in ((fit.f, f), (fit.D * 1e3, D * 1e3), (fit.Dstar * 1e3, Dstar * 1e3))
    ]
    print(
        f"{name:22}{errors[0]:8.3f}{errors[1]:8.3f}{errors[2]:8.2f}{fit.atoms.mean():12.1f}{np.nanmax(fit.gap):13.1e}"
    )

# %% [markdown]
# The number of atoms changes little, their range a lot: what helps is knowing the tissue. `nlls` has no dictionary; with the same ranges
# as bounds it gains in the same way.

# %%
for name, options in {
    "nlls": {},
    "nlls, true ranges": {"d_bounds": (0.5e-3, 2.5e-3), "dstar_bounds": (10e-3, 100e-3)},
}.items():
    fit = ivimsc.fit_signals(signals, b, "nlls", **options)
    print(
        f"{name:22}{np.sqrt(np.mean((fit.f - f) ** 2)):8.3f}{1e3 * np.sqrt(np.mean((fit.D - D) ** 2)):8.3f}{1e3 * np.sqrt(np.mean((fit.Dstar - Dstar) ** 2)):8.2f}"
    )

# %%
# the spectrum of one voxel: weights over diffusivity
from matplotlib import pyplot

voxel = int(np.argmax(f))
figure, axes = pyplot.subplots(figsize=(7, 3.5))
for name, fit in list(fits.items())[::2]:
    grid = wide if name.startswith("600") else make_dictionary(b, "log", (300, 300), (0.5e-3, 2.5e-3), (10e-3, 100e-3))
    row = slice(*fit.spectrum.indptr[voxel : voxel + 2])
    places = np.concatenate([grid.D, grid.Dstar])[fit.spectrum.indices[row]] * 1e3
    axes.vlines(places, 0, fit.spectrum.data[row], lw=2, color="C0" if name.startswith("600") else "C1", label=name)
axes.plot([D[voxel] * 1e3, Dstar[voxel] * 1e3], [1 - f[voxel], f[voxel]], "k.", label="truth")
axes.set(xscale="log", xlabel="D, D* [µm²/ms]", ylabel="weight")
axes.legend(frameon=False)
figure
