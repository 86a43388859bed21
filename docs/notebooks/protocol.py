# %% [markdown]
# # A protocol for the liver
#
# Which b-values should a scan have? The answer depends on the tissue, the noise and what is asked. Two criteria are at hand before anything is
# measured: the Cramér-Rao bound, and the smallest possible mean squared error under what is known of the tissue.
# This is the file `docs/notebooks/protocol.py`.

# %%
import numpy as np

import ivimsc
from ivimsc.physics.cramer_rao import cramer_rao

liver = {"S0": 1.0, "f": 0.25, "D": 1.1e-3, "Dstar": 60e-3}  # D and D* in mm²/s
sigma = 1 / 50  # SNR 50 at b = 0
protocols = {
    "ten": [0, 10, 20, 50, 80, 100, 150, 200, 300, 500],
    "ten, even to 800": np.linspace(0, 800, 10).tolist(),
    "ten, of four": [0, 0, 0, 30, 30, 200, 200, 800, 800, 800],
    "five": [20, 50, 150, 300, 500],
}

# %% [markdown]
# The Cramér-Rao bound is the smallest standard deviation of any estimate without bias. Repeats may be listed: every entry is an image.

# %%
bounds = {}
print("Cramér-Rao bound      f [%]   D [µm²/ms]   D* [µm²/ms]")
for name, b in protocols.items():
    bounds[name] = cramer_rao(**liver, bvalues=b, sigma=sigma)[0, 1:]
    print("{:16}{:11.1f}{:13.3f}{:14.1f}".format(name, *bounds[name] * [100, 1e3, 1e3]))

# %% [markdown]
# An unbiased estimate is not what one wants where the bound is wide: knowing the tissue is better. No estimate has a smaller mean squared error
# than the posterior mean under the true spread of the tissue, and `bayes` with a store's truth as its prior is that estimate. Here it is for a
# liver whose f, D and D* vary by 25 %, simulated at each protocol.

# %%
draw = np.random.default_rng(1)
n = 4000


def livers():
    """f, D and D* of n voxels."""
    return {key: liver[key] * np.exp(draw.normal(0, 0.25, n)) for key in ("f", "D", "Dstar")}


known, tissue = livers(), livers()  # what the prior is made of, and what is measured
truth = {"S0": 1.0, **known}
prior = ivimsc.VoxelStore.write("liver.h5", np.ones((n, 2)), [0, 500], truth=truth)
errors = {}
print("smallest error        f [%]   D [µm²/ms]   D* [µm²/ms]")
for name, b in protocols.items():
    clean = ivimsc.simulate_signals(1.0, tissue["f"], tissue["D"], tissue["Dstar"], b)
    signals = clean + draw.normal(0, sigma, clean.shape)
    given = {"prior": str(prior), "sigma": sigma, "likelihood": "gaussian"}
    fit = ivimsc.fit_signals(signals, b, "bayes", **given)
    squares = [np.mean((getattr(fit, key) - tissue[key]) ** 2) for key in tissue]
    errors[name] = np.sqrt(squares)
    print("{:16}{:11.1f}{:13.3f}{:14.1f}".format(name, *errors[name] * [100, 1e3, 1e3]))

# %% [markdown]
# The smallest possible error is well below the Cramér-Rao bound where the protocol is poor, because the tissue is known to some extent. So the
# protocol that is best by one criterion need not be best by the other: look at the one that your fit will live by.

# %% [markdown]
# `ivimsc.design` searches for the b-values, with repeats, of the smallest expected error in a tissue. What each protocol leaves of the tissue's
# own variance is printed, the mean of f, D and D*, at equal scan time: 1 means that the images told nothing.

# %%
made = ivimsc.design("liver", snr=50, volumes=10, bmax=800)
print("b-values", *np.repeat(made.bvalues, made.repeats).astype(int))
for name, left in made.left.items():
    print(f"{name:30}{left:.2f}")

# %%
# both criteria side by side
from matplotlib import pyplot

figure, panels = pyplot.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
names = ("f [%]", "D [µm²/ms]", "D* [µm²/ms]")
rows = np.arange(len(protocols))
for column, axes in enumerate(panels):
    scale = (100, 1e3, 1e3)[column]
    wide = [scale * bounds[name][column] for name in protocols]
    best = [scale * errors[name][column] for name in protocols]
    axes.barh(rows - 0.2, wide, 0.4, color="0.8", label="Cramér-Rao bound")
    axes.barh(rows + 0.2, best, 0.4, label="smallest possible error")
    axes.set(yticks=rows, yticklabels=protocols if column == 0 else [], xlabel=names[column])
    axes.set_xlim(0, 3 * max(best))
    axes.invert_yaxis()
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
figure
