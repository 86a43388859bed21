# %% [markdown]
# # Planning a protocol
#
# Which b-values should a scan have? The answer depends on the tissue, the noise and what is asked. Two criteria are at hand before anything is
# measured: the Cramér-Rao bound, and the smallest possible mean squared error under what is known of the tissue.
# This is the file `docs/notebooks/protocol.py`.

# %%
import numpy as np

import ivimsc
from ivimsc.physics.cramer_rao import cramer_rao

liver = {"S0": 1.0, "f": 0.25, "D": 1.1e-3, "Dstar": 60e-3}  # D in mm²/s
protocols = {
    "ten": [0, 10, 20, 50, 80, 100, 150, 200, 300, 500],
    "ten, equally spaced to 800": np.linspace(0, 800, 10),
    "four, repeated": [0, 0, 0, 30, 30, 200, 200, 800, 800, 800],
    "five": [20, 50, 150, 300, 500],
}

# %% [markdown]
# The Cramér-Rao bound is the smallest standard deviation of any estimate without bias. Repeats may be listed: every entry is an image.

# %%
print(f"SNR 50, images:{'':13}f [%]     D [µm²/ms]   D* [µm²/ms]")
for name, b in protocols.items():
    _, f_sd, d_sd, p_sd = cramer_rao(**liver, bvalues=b, sigma=1 / 50)[0]
    print(f"{len(b):3} {name:26}{100 * f_sd:6.1f}{1e3 * d_sd:14.3f}{1e3 * p_sd:13.1f}")

# %% [markdown]
# An unbiased estimate is not what one wants where the bound is wide: knowing the tissue is better. The smallest possible mean squared error
# is that of the posterior mean under the spread of the tissue. `fit_signals` with a prior from a store's truth is that estimate. Here it is for
# a liver with a spread of 25 %, simulated at each protocol.

# %%
draw = np.random.default_rng(1)
n = 4000
spread = {key: liver[key] * np.exp(draw.normal(0, 0.25, n)) for key in ("f", "D", "Dstar")}
errors = {}
for name, b in protocols.items():
    values = np.unique(b)
    images = np.array([np.sum(np.asarray(b) == value) for value in values])
    clean = ivimsc.simulate_signals(1.0, spread["f"], spread["D"], spread["Dstar"], values)
    signals = clean + draw.normal(0, 1 / 50, clean.shape) / np.sqrt(images)
    truth = {"S0": 1.0, **spread}
    ivimsc.VoxelStore.write("truth.h5", signals, values, truth=truth, repeats=images, force=True)
    every = np.repeat(signals, images, axis=1)  # the mean stands for each of its images, so that they count
    fit = ivimsc.fit_signals(
        every, np.repeat(values, images), "bayes", prior="truth.h5", sigma=1 / 50, likelihood="gaussian"
    )
    errors[name] = [np.sqrt(np.mean((getattr(fit, key) - spread[key]) ** 2)) for key in ("f", "D", "Dstar")]
    print(f"{len(b):3} {name:26}{100 * errors[name][0]:6.1f}{1e3 * errors[name][1]:14.3f}{1e3 * errors[name][2]:13.1f}")

# %% [markdown]
# The root of the mean squared error is well below the Cramér-Rao bound where the protocol is poor, because the tissue is known to some extent. So a
# protocol that is best for one criterion need not be best for the other: look at the one that your fit will live by.

# %%
# both criteria side by side
from matplotlib import pyplot

figure, panels = pyplot.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for column, (axes, scale) in enumerate(zip(panels, (100, 1e3, 1e3), strict=True)):
    bounds = [scale * cramer_rao(**liver, bvalues=b, sigma=1 / 50)[0][column + 1] for b in protocols.values()]
    axes.barh(range(4), bounds, 0.7, color="0.85", label="Cramér-Rao bound")
    axes.barh(range(4), [scale * errors[name][column] for name in protocols], 0.35, label="smallest possible error")
    axes.set(
        yticks=range(4),
        yticklabels=list(protocols) if column == 0 else [],
        xlabel=("f [%]", "D [µm²/ms]", "D* [µm²/ms]")[column],
    )
    axes.invert_yaxis()
panels[2].legend(frameon=False, fontsize=8, loc="upper right")
figure
