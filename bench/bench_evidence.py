"""Is the model that `compare` chooses the right one, and how far is the choice from the best possible?

Mixtures: every voxel of the uniform phantom is drawn from one of the four models (mono, biexp, kurtosis, triexp) with equal
probability, with Gaussian noise. The best possible choice is the model of the largest posterior probability: its prior is the
very distribution that the voxels come from, its likelihood is averaged over draws from it, and S0 has a flat prior, as the fits
have. The choice of `compare` knows no prior.

`bench_real_scans` asks which model real scans support, region by region: a bottle of water and a pipe without flow (one
exponential), a pipe with flow (more than one), and leg muscle, which has hardly any perfusion. The noise level is that of the
residuals of the region.

Run ``python -m pytest bench/bench_evidence.py``; it writes bench/results/evidence.md and evidence_scans.md.
"""

import numpy as np
import pytest

from ivimsc.compare.evidence import CODES, criteria, support
from ivimsc.fit import fit_signals
from ivimsc.methods import METHODS
from ivimsc.nifti import read_series
from ivimsc.numerics.noise_level import sigma_of_squares
from ivimsc.phantoms import make_phantom
from ivimsc.phantoms.beyond import with_model
from ivimsc.physics.models import MODELS, mixture_signals
from ivimsc.simulate import simulate_phantom
from tests.conftest import real_data  # noqa: F401 (a fixture)

B = np.array([0, 5, 10, 20, 40, 80, 150, 200, 400, 600, 800, 1000, 1300.0])
VOXELS, DRAWS, BLOCK = 1000, 30_000, 100
METHOD_OF = {method.model: name for name, method in METHODS.items() if method.model}


def log_evidence(y, sigma, model, seed=99):
    """Logarithm of the probability of each signal (voxel, b) under a model, but for a constant."""
    truth = with_model(make_phantom("uniform", seed, voxels=DRAWS), model, seed).read(0, DRAWS).truth
    shapes = mixture_signals(truth, B).astype(np.float32)
    lengths = np.linalg.norm(shapes, axis=1)
    unit, found = (shapes / lengths[:, None]).T, []
    for start in range(0, len(y), BLOCK):
        projection = y[start : start + BLOCK] @ unit
        log = projection * projection * np.float32(0.5 / sigma**2) - np.log(lengths)  # S0 is integrated out
        top = log.max(axis=1, keepdims=True)
        found.append(top[:, 0] + np.log(np.exp(log - top).mean(axis=1)))
    return np.concatenate(found)


@pytest.mark.parametrize("snr", [30, 60, 150])
def bench_choice(snr, record):
    v = simulate_phantom("uniform", B, snr, 5, "gaussian", voxels=VOXELS, model="mixture")
    fits = [fit_signals(v.signals, B, METHOD_OF[model]) for model in MODELS]
    squares = np.array([len(B) * fit.rmse.astype(float) ** 2 for fit in fits])
    aicc, bic, refused = criteria(squares, len(B), [len(model.keys) for model in MODELS.values()], 1 / snr)
    best = 1 + np.argmax([log_evidence(v.signals, 1 / snr, model) for model in MODELS], axis=0)
    for name, chosen in (("best possible", best), ("BIC", support(list(MODELS), bic, refused)), ("AICc", support(list(MODELS), aicc, refused))):  # fmt: skip
        right = {f"right for {model}": float(np.mean(chosen[v.tissue == i] == i)) for i, model in enumerate(MODELS, 1)}
        record("evidence", "The choice of the model, against the best possible", SNR=snr, choice=name,
               right=float(np.mean(chosen == v.tissue)), **right, as_best=float(np.mean(chosen == best)), none=float(np.mean(chosen == 9)))  # fmt: skip


REGIONS = (
    ("static pipe: bottle", "wetscherek_phantom_static", "dwi_avg_bip_T70", "rois", 1),
    ("static pipe", "wetscherek_phantom_static", "dwi_avg_bip_T70", "rois", 2),
    ("flowing pipe: bottle", "wetscherek_phantom_flow", "dwi_avg_bip_T70", "rois", 1),
    ("flowing pipe", "wetscherek_phantom_flow", "dwi_avg_bip_T70", "rois", 2),
    ("leg muscle", "froeling_muscle_legs", "dwi_avg", "labels", None),
)


@pytest.mark.parametrize("region", REGIONS, ids=[region[0] for region in REGIONS])
def bench_real_scans(region, real_data, record):  # noqa: F811
    name, folder, stem, labels, wanted = region
    place = real_data / folder
    v = read_series(place / f"{stem}.nii.gz", place / f"{stem}.bval", mask=place / f"{labels}.nii.gz")
    y, b = v.signals, v.bvalues
    if wanted is not None:
        import nibabel as nib

        volume = np.asarray(nib.load(place / f"{labels}.nii.gz").dataobj).reshape(v.geometry.shape)
        y = y[volume[tuple(v.index.T)] == wanted]
    y = y[:: max(len(y) // 4000, 1)]
    models = ("mono", "biexp", "triexp")  # b ends at 500 and 600 s/mm²: too little for kurtosis
    fits = {model: fit_signals(y, b, METHOD_OF[model]) for model in models}
    squares = np.array([len(b) * fits[model].rmse.astype(float) ** 2 for model in models])
    squares[~np.isfinite(squares)] = np.inf
    parameters = [len(MODELS[model].keys) for model in models]
    sigma = min(sigma_of_squares(row[np.isfinite(row)], len(b) - k) for row, k in zip(squares, parameters, strict=True))
    _, bic, refused = criteria(squares, len(b), parameters, sigma)
    codes = support(list(models), bic, refused)
    shares = {name: float(np.mean(codes == code)) for code, name in CODES.items() if name in (*models, "none of them")}
    record("evidence_scans", "Which model real scans support", region=name, voxels=len(y), SNR=float(np.median(y[:, 0]) / sigma),
           **shares, median_f=float(np.nanmedian(fits["biexp"].f)), outcome_4=float(np.mean(fits["biexp"].outcome == 4)))  # fmt: skip
