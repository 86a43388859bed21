"""The methods paragraph of a report, ready to paste into a paper, with the references that it cites."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ivimsc import __version__
from ivimsc.fit.noise import NoiseLevel
from ivimsc.methods import METHODS
from ivimsc.outcome import Outcome
from ivimsc.report.references import CITED_BY, REFERENCES, bibtex
from ivimsc.report.sources import Fit, Sources

__all__ = ["Paragraph", "changed_options", "option_rows", "write_paragraph"]

HOW = {
    "adc": "a mono-exponential model S(b) = S0 exp(-b D) was fitted by least squares",
    "simplified": "D from the high b-values by least squares, and f from their intercept at b = 0",
    "kurtosis": "S(b) = S0 [(1 - f) exp(-b D + b² D² K / 6) + f exp(-b D*)] was fitted by non-linear least squares within bounds",
    "triexp": "S(b) = S0 [(1 - f - f2) exp(-b D) + f exp(-b D*) + f2 exp(-b D*2)] was fitted by non-linear least squares within bounds",
    "segmented": "segmented least squares: D from the high b-values, then f and D* from all b-values with this D",
    "nlls": "non-linear least squares within bounds, by variable projection",
    "bayes": "Bayesian estimation: posterior means, with posterior standard deviations",
    "ista": "non-negative sparse coding over a dictionary of exponentials, decoded to f, D and D*",
    "scdnn": "an unrolled sparse-coding network with learned dictionaries",
    "mlp": "a multilayer perceptron trained on simulated signals",
    "ivimnet": "an unsupervised physics-informed neural network",
}
MODEL = "S(b) = S0 [(1 - f) exp(-b D) + f exp(-b D*)]"


class Paragraph(NamedTuple):
    """text with numbers in brackets; references: the numbered lines; bibtex: their entries."""

    text: str
    references: list[str]
    bibtex: str


def write_paragraph(
    sources: Sources, noise: NoiseLevel | None, counts: Mapping[str, Mapping[Outcome, int]]
) -> Paragraph:
    """What was done, in the words of a methods section.

    Parameters
    ----------
    sources : the data and the fits
    noise : the noise level, where it is known
    counts : voxels per outcome of each fit, by name
    """
    keys = ["ivimsc"]

    def cite(method: str) -> str:
        wanted = CITED_BY.get(method, ())
        keys.extend(key for key in wanted if key not in keys)
        return f" [{','.join(str(keys.index(key) + 1) for key in wanted)}]" if wanted else ""

    geometry, weights = sources.voxels.geometry, sources.weights
    bvalues = ", ".join(f"{b:g}" for b in sources.bvalues)
    images = f" ({weights.sum():g} images; {_repeats(sources)})" if weights.max() > 1 else ""
    size = " × ".join(f"{zoom:.3g}" for zoom in geometry.zooms)
    text = [
        f"Diffusion-weighted images were analysed at b = {bvalues} s/mm²{images}; the matrix was "
        f"{' × '.join(map(str, geometry.shape))}, the voxel size {size} {_unit(geometry.xyz_unit)}. {len(sources):,} voxels were fitted "
        f"with ivimsc {_versions(sources)} [1]."
    ]
    if weights.max() > 1:
        text.append("Images of one b-value were averaged over directions and repeats before the fit.")
    if any("dstar" in fit.fields and not {"k", "f2"} & set(fit.fields) for fit in sources.fits):
        text.append(f"The intravoxel incoherent motion model {MODEL} was used.")
    text += [_fit_sentence(fit, cite(fit.store.method), sources) for fit in sources.fits]
    if noise is not None:
        text.append(f"The noise standard deviation of one image was estimated from the residuals of a least-squares fit as {noise.sigma:.3g}, a signal-to-noise ratio of {noise.snr:.3g} at b = 0.")  # fmt: skip
    text.append("For every voxel the fit was classified; D* was regarded as not identifiable where, by the Cramér-Rao standard errors, f was within 1.96 standard errors of 0 or D* of D.")  # fmt: skip
    text += [_share_sentence(fit, counts[fit.name]) for fit in sources.fits]
    references = [f"[{n}] {REFERENCES[key].text}" for n, key in enumerate(keys, start=1)]
    return Paragraph(" ".join(text), references, bibtex(keys))


def _unit(name: str) -> str:
    return {"mm": "mm", "micron": "µm", "meter": "m"}.get(name, "(unit unknown)")


def _repeats(sources: Sources) -> str:
    return ", ".join(f"{n:g} at b = {b:g}" for b, n in zip(sources.bvalues, sources.weights, strict=True))


def _versions(sources: Sources) -> str:
    return " and ".join(sorted({fit.store.version for fit in sources.fits}) or [__version__])


def _fit_sentence(fit: Fit, cited: str, sources: Sources) -> str:
    how = HOW.get(fit.store.method, fit.title)
    changed = changed_options(fit)
    options = f" ({', '.join(f'{key} = {_plain(value)}' for key, value in changed.items())})" if changed else ""
    used = fit.store.bvalues
    some = "" if len(used) == len(sources.bvalues) else f", from b = {', '.join(f'{b:g}' for b in used)} s/mm²"
    return f"Method {fit.name}: {how}{cited}{options}{some}."


def _share_sentence(fit: Fit, counts: Mapping[Outcome, int]) -> str:
    total = max(sum(counts.values()), 1)
    share = {outcome: 100 * counts.get(outcome, 0) / total for outcome in Outcome}
    told = [f"{share[Outcome.CONVERGED]:.0f} % converged"]
    if "dstar" in fit.fields:
        told.append(f"D* was not identifiable in {share[Outcome.DSTAR_UNIDENTIFIABLE]:.0f} %")
    told.append(f"the model did not explain the signal in {share[Outcome.MISFIT]:.1f} %")
    return f"By {fit.name}, {', '.join(told[:-1])} and {told[-1]} of the voxels."


def option_rows(fit: Fit) -> list[tuple[str, str, bool, str]]:
    """The options of a fit: name, value, whether it is not the default, and help."""
    fields = _fields(fit)
    return [
        (key, _plain(value), key in changed_options(fit), fields[key].metadata.get("help", "") if key in fields else "")
        for key, value in fit.store.options.items()
    ]


def changed_options(fit: Fit) -> dict[str, Any]:
    """The options that are not as they are by default."""
    fields = _fields(fit)
    return {
        key: value
        for key, value in fit.store.options.items()
        if key in fields and _plain(value) != _plain(fields[key].default)
    }


def _fields(fit: Fit) -> dict[str, dataclasses.Field]:
    method = METHODS.get(fit.store.method)
    return {field.name: field for field in dataclasses.fields(method.load().Options)} if method else {}


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(_plain(one) for one in value)
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
