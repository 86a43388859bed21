"""Warnings of a report: sentences that hold for these data, with the numbers that they come from."""

from collections.abc import Mapping

import numpy as np

from ivimsc.fit.noise import NoiseLevel, has_signal
from ivimsc.outcome import Outcome
from ivimsc.physics.protocol import B0_LIMIT
from ivimsc.report.sources import Sources
from ivimsc.report.volumes import VolumeResiduals

__all__ = ["cautions_of"]

LOW, FEW = 100.0, 3  # s/mm²: the blood's signal lasts so long; fewer b-values there leave D* to chance
NEXT_TO_0 = 1.0  # s/mm²: up to here the blood has lost nothing
TISSUE = 200.0  # s/mm²: above it the tissue is alone
FLOOR = 3.0  # noise SD: below it the mean of magnitude images is not the signal (Gudbjartsson and Patz 1995)
DIM = 10.0  # SNR at b = 0
SHARE = 0.05  # of the voxels, from which an outcome is worth a warning


def cautions_of(sources: Sources, noise: NoiseLevel | None, counts: Mapping[str, Mapping[Outcome, int]], moved: VolumeResiduals | None) -> list[str]:  # fmt: skip
    """What a reader has to be warned of, in sentences.

    Parameters
    ----------
    sources : the data and the fits
    noise : the noise level, where it is known
    counts : voxels per outcome of each fit, by name
    moved : residuals by volume, where single images are known
    """
    found = _protocol(sources)
    found += ["The noise level is not known: there are too few voxels or b-values to tell it. Error bars and misfits are not shown."] if noise is None else _noise(sources, noise)  # fmt: skip
    if moved is not None and moved.odd.any():
        worst = np.argsort(-np.where(moved.odd, moved.size / moved.usual, 0))[: min(5, moved.odd.sum())]
        listed = ", ".join(f"{moved.numbers[k]} (b = {moved.bvalues[k]:g}, {moved.size[k] / moved.usual[k]:.2g} times)" for k in worst)  # fmt: skip
        found.append(f"Motion or artefacts: {moved.odd.sum()} of {len(moved.odd)} images are farther from the fitted curve than others of their b-value: image {listed}.")  # fmt: skip
    found += _outcomes(counts)
    versions = sorted({fit.store.version for fit in sources.fits})
    if len(versions) > 1:
        found.append(f"The fits were made by different versions of ivimsc: {', '.join(versions)}.")
    used = {fit.name: tuple(fit.store.bvalues) for fit in sources.fits}
    if len(set(used.values())) > 1:
        numbers = ", ".join(f"{name} {len(values)}" for name, values in used.items())
        found.append(f"The fits used different numbers of b-values: {numbers}.")
    return found


def _protocol(sources: Sources) -> list[str]:
    found = []
    for fit in (fit for fit in sources.fits if not fit.mono):
        b = fit.store.bvalues
        low = b[(b > NEXT_TO_0) & (b < LOW)]
        if len(low) < FEW:
            found.append(f"{fit.name}: {len(low)} b-values between {NEXT_TO_0:g} and {LOW:g} s/mm²; with fewer than {FEW} the data say little of D*, and of f only through the extrapolation of D.")  # fmt: skip
        if (b > TISSUE).sum() < 2:
            found.append(f"{fit.name}: {(b > TISSUE).sum()} b-values above {TISSUE:g} s/mm²; with fewer than 2 the data hardly part D from D*.")  # fmt: skip
    if sources.bvalues[0] > B0_LIMIT:
        found.append(f"There is no b = 0: the smallest b-value is {sources.bvalues[0]:g} s/mm², and S0 is extrapolated.")  # fmt: skip
    return list(dict.fromkeys(found))


def _noise(sources: Sources, noise: NoiseLevel) -> list[str]:
    found = []
    if noise.snr < DIM:
        found.append(
            f"Low SNR: {noise.snr:.3g} at b = 0 in one image. D* is hardly determined, and f has large errors."
        )
    last = sources.signals[has_signal(sources.signals), -1]
    last = last[np.isfinite(last)]
    share = float(np.mean(last < FLOOR * noise.sigma)) if len(last) else 0.0
    if share > SHARE:
        found.append(f"Noise floor: at b = {sources.bvalues[-1]:g} s/mm² the signal of {100 * share:.0f} % of the voxels is below {FLOOR:g} noise SD of one image. Magnitude images do not fall below the floor: D comes out too small there.")  # fmt: skip
    return found


def _outcomes(counts: Mapping[str, Mapping[Outcome, int]]) -> list[str]:
    told = {
        Outcome.DSTAR_UNIDENTIFIABLE: "there the value of D* means nothing",
        Outcome.MISFIT: "there the standard errors are not valid",
        Outcome.BAD_SIGNAL: "they were not fitted, and a mask leaves the background out",
        Outcome.ITERATION_LIMIT: "their fit did not end",
        Outcome.GAP: "their code is not proved to be optimal",
        Outcome.OUTSIDE_TRAINING: "do not use their values",
        Outcome.AT_BOUND: "there a value is that of the bound",
    }
    found = []
    for outcome, means in told.items():
        shares = {name: some.get(outcome, 0) / max(sum(some.values()), 1) for name, some in counts.items()}
        many = ", ".join(f"{100 * share:.0f} % ({name})" for name, share in shares.items() if share > SHARE)
        if many:
            found.append(f"Outcome {outcome.value}, {outcome.sentence}: {many} of the voxels; {means}.")
    return found
