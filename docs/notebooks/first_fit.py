# %% [markdown]
# # A first fit
#
# A volume of signals, its maps, and the question which of its voxels to believe.
# This is the file `docs/notebooks/first_fit.py`.

# %%
import numpy as np

import ivimsc
from ivimsc.simulate import simulate_phantom

# %% [markdown]
# The signals are those of a small placenta phantom, so that the truth is known: 36 × 30 × 2 voxels, ten b-values, SNR 30. Your own come from
# `nibabel.load("scan.nii.gz").get_fdata()`, with one b-value for each image.

# %%
phantom = simulate_phantom("placenta", snr=30, seed=1, shape=(36, 30, 2))
shape, at, b = phantom.geometry.shape, tuple(phantom.index.T), phantom.bvalues
signals = np.zeros((*shape, len(b)), np.float32)
signals[at] = phantom.signals
mask = np.zeros(shape, bool)
mask[at] = True
print(f"{mask.sum():,} voxels, b = {', '.join(f'{value:g}' for value in b)} s/mm²")

# %% [markdown]
# One line fits them. `print` tells what is in the result; the fields are arrays in the shape of the volume.

# %%
nlls = ivimsc.fit_signals(signals, b, method="nlls", mask=mask)
print(nlls)

# %%
# maps of nlls
ivimsc.plot.maps(nlls, keys=("f", "d", "dstar", "outcome"), z=1)[0, 0].figure

# %% [markdown]
# The last map is the outcome: whether the data determine f, D and D* in that voxel. Where f is small nothing tells D*, and its map is noise there.
# Every outcome is a sentence, and says what to do.

# %%
for outcome in ivimsc.Outcome:
    share = np.mean(nlls.outcome[mask] == outcome)
    if share:
        print(f"{100 * share:5.1f} %  {outcome.sentence}")
        print(f"         -> {outcome.advice}")

# %% [markdown]
# A Bayesian fit learns from all voxels what values the tissues have, without training, and is less noisy for it.

# %%
bayes = ivimsc.fit_signals(signals, b, method="bayes", mask=mask)
truth = phantom.truth
print("median errors     f [%]   D [µm²/ms]   D* [µm²/ms]")
for name, fit in {"nlls": nlls, "bayes": bayes}.items():
    f = np.median(np.abs(fit.f[at] - truth["f"]))
    D = np.median(np.abs(fit.D[at] - truth["d"]))
    Dstar = np.median(np.abs(fit.Dstar[at] - truth["dstar"]))
    print(f"{name:14}{100 * f:9.2f}{1e3 * D:13.3f}{1e3 * Dstar:14.1f}")

# %%
# one voxel: what was measured, and what was fitted
best = np.argwhere((nlls.outcome == 1) & (nlls.f > 0.2))[0]
fits = {"nlls": nlls, "bayes": bayes}
ivimsc.plot.voxel(fits, signals, place=best, sigma=1 / 30).figure

# %% [markdown]
# To keep it: `nlls.to_nifti("maps", like="scan.nii.gz")` writes NIfTI maps where the scan lies, and `VoxelStore.write` keeps the
# signals for the commands `fit`, `compare` and `report`.

# %%
path = ivimsc.VoxelStore.write("placenta.h5", signals, b, mask, phantom.geometry)
with ivimsc.VoxelStore(path) as store:
    print(f"{path}: {len(store):,} voxels of {store.geometry.shape}")
