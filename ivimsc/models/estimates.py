"""What the learned methods share when they fit: signals over S0 in, estimates with their outcomes out. No torch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc.device.launch import Launch
from ivimsc.device.verdict import Evidence, evidence_of, judged
from ivimsc.errors import InputError
from ivimsc.estimates import Estimates
from ivimsc.fitter import Fitter, Inputs
from ivimsc.models.file import Model
from ivimsc.models.layout import Layout, require_layout
from ivimsc.models.limits import LARGEST_S0, Limits, are_outside, largest_of, limits_of, shown
from ivimsc.models.products import in_fixed_blocks
from ivimsc.models.spread import with_errors
from ivimsc.models.typical import are_strange
from ivimsc.options import expect_positive, option
from ivimsc.outcome import Outcome
from ivimsc.physics.models import predicted
from ivimsc.voxels import VoxelSource

__all__ = ["LayerFitter", "LayerOptions", "Signals", "require_model", "to_estimates", "usable"]


def require_model(inputs: Inputs, method: str, layout: Callable[[Model], Layout]) -> Model:
    """The model that `method` is given.

    Parameters
    ----------
    inputs, method : what the method is given, and its name
    layout : tells the arrays that a model of the method has to hold

    Raises
    ------
    InputError
        for no model, for a model of another method, and for one without the arrays of its method
    """
    model = inputs.files.get("model")
    if model is None:
        raise InputError(f"option model of {method}: found none, expected MODEL.safetensors: `ivimsc train {method}` makes one")  # fmt: skip
    if model.method != method:
        raise InputError(f"{model.source}: found a model of {model.method}, expected one of {method}")
    require_layout(model, layout(model))
    return model


def usable(signals: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Voxels (voxel,) whose signals (voxel, b) a network that finds S0 can take: numbers, and above 0 at the smallest b."""
    return np.isfinite(signals).all(1) & (signals[:, :1] > 0).all(1)


class Signals:
    """Signals over S0 as a model takes them.

    S0 is `s0` where it is given; else the signal at b = 0, among the b-values of the voxels or left out of them.

    Attributes
    ----------
    columns : (b,) places of the model's b-values among those of the voxels
    zero : place of b = 0 among them, or -1 where S0 is given or comes beside the signals
    weights : (b,) images behind each of the model's b-values
    notes : where S0 comes from, and whether numbers of images differ, in words
    """

    def __init__(self, voxels: VoxelSource, model: Model, s0: float | None) -> None:
        self.columns, self.s0 = model.columns(voxels.bvalues), s0
        zero = np.flatnonzero(voxels.bvalues == 0)
        if s0 is None and not len(zero) and not voxels.leaves_out_s0:
            raise InputError(f"option s0 of {model.method}: found none, and no b = 0 in the data, expected S0 as the option s0")  # fmt: skip
        self.zero = int(zero[0]) if s0 is None and len(zero) else -1
        self.weights = voxels.weights[self.columns]
        self._s0_images = voxels.weights[self.zero] if self.zero >= 0 else getattr(voxels, "s0_images", 1.0)
        self.notes = ["S0: signal at b = 0" if s0 is None else f"S0: {s0:g} (given)"]
        if np.any(self.weights != self.weights[0]):
            low, high = self.weights.min(), self.weights.max()
            self.notes.append(
                f"b-values are means of {low:g} to {high:g} images; the model, which was trained for as many at each, takes all alike"
            )

    def evidence(self, bvalues: NDArray[np.float64], sigma: float | None = None) -> Evidence:
        """What the data know: the model's `bvalues` (b,), and b = 0 where S0 was measured there and is not one of them.

        sigma: noise SD of one image in the unit of the signal, None: from the residuals of each voxel.
        """
        measured = self.s0 is None and not (bvalues == 0).any()
        used = np.concatenate([[0.0], bvalues]) if measured else bvalues
        images = np.concatenate([[self._s0_images], self.weights]) if measured else self.weights
        return evidence_of(used, sigma, self.s0 is not None, len(bvalues), images)

    def bases(self, n: int, beside: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """S0 (voxel,) of n voxels where it is no column of their signals; `beside`: the signal at b = 0 that came along."""
        return np.full(n, self.s0, np.float32) if beside is None or self.s0 is not None else beside

    def __call__(
        self, signals: NDArray[np.float32], beside: NDArray[np.float32] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Signals (voxel, b) over S0, and S0 (voxel,); NaN and 0 where they are bad.

        Parameters
        ----------
        signals : (voxel, b) as measured
        beside : (voxel,) signal at b = 0 where it is left out of `signals`
        """
        s0 = signals[:, self.zero].copy() if self.zero >= 0 else self.bases(len(signals), beside).copy()
        chosen = signals[:, self.columns]
        good = np.isfinite(chosen).all(1) & np.isfinite(s0) & (s0 > 0) & (chosen != 0).any(1)
        s0[~good] = 0
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.where(good[:, None], chosen / s0[:, None], np.float32(np.nan))
        return np.ascontiguousarray(y, np.float32), s0


def to_estimates(y: NDArray[np.float32], s0: NDArray[np.float32], parameters: NDArray[np.float32],
                 bvalues: NDArray[np.float64], limits: Limits, outside: NDArray | bool = False,
                 weights: NDArray | None = None) -> Estimates:  # fmt: skip
    """Estimates of signals `y` (voxel, b) over `s0` (voxel,) from S0/s0, f, D, D* (voxel, 4) [µm²/ms].

    Parameters
    ----------
    y, s0, parameters, bvalues : as above; b-values [s/mm²]
    limits : of the model
    outside : (voxel,) outside the training for other reasons than signals and estimates
    weights : (b,) images behind each signal; None: one

    Returns
    -------
    Estimates
        Outcomes, of which the first that holds is taken: 5 for bad signals (s0 = 0); 7 for what lies outside the training
        (`limits.are_outside`), whose values are clipped (`limits.shown`); 4 where D* is NaN (no perfusion part); 2 where D is
        (no tissue part); else 1. Where numbers of images differ, `spread` is there.
    """
    parameters = np.array(parameters, np.float32, order="F")  # a copy, whose columns are changed below
    scale, f, D, Dstar = parameters.T
    with np.errstate(over="ignore", invalid="ignore"):
        model = predicted({"s0": scale, "f": f, "d": D, "dstar": Dstar}, (bvalues * 1e-3).astype(np.float32))
        squares = (model - y) ** 2
        rmse = np.sqrt(np.mean(squares, axis=1))
        spread = None if weights is None or np.all(weights == 1) else np.sqrt(squares @ weights / len(bvalues))
    good = s0 != 0
    outside = (are_outside(y, parameters, limits) | outside) & good
    outcome = np.full(len(y), Outcome.CONVERGED, np.uint8)
    for holds, kind in (
        (np.isnan(D), Outcome.AT_BOUND),
        (np.isnan(Dstar), Outcome.DSTAR_UNIDENTIFIABLE),
        (outside, Outcome.OUTSIDE_TRAINING),
        (~good, Outcome.BAD_SIGNAL),
    ):
        outcome[holds] = kind
    if outside.any():
        largest = largest_of(y[outside])
        parameters[outside] = shown(parameters[outside], largest, limits)
        rmse[outside] = np.fmin(rmse[outside], np.float32(LARGEST_S0) * largest)
    values = [scale * s0, f, D * np.float32(1e-3), Dstar * np.float32(1e-3), rmse * s0]
    for array in values:
        array[~good] = np.nan
    return Estimates(*values, outcome, spread=None if spread is None else (spread * s0).astype(np.float32))


@dataclass(frozen=True)
class LayerOptions:
    """Options of the methods that are plain layers: mlp and ivimnet."""

    model: str | None = option(None, "model file (.safetensors) of ivimsc train")
    s0: float | None = option(None, "S0 where it is known (none: the signal at b = 0)")
    sigma: float | None = option(None, "noise SD of one image, for the outcomes (none: from residuals)")

    def __post_init__(self) -> None:
        expect_positive(self, ("s0", "sigma"), "the method")


class LayerFitter(Fitter):
    """A trained network of plain layers made ready for one data set; a method says what the layers do (`parameters`)."""

    def __init__(self, voxels: VoxelSource, model: Model, options: LayerOptions, launch: Launch) -> None:
        super().__init__(launch)
        self.model, self.signals = model, Signals(voxels, model, options.s0)
        self.identity = {"model_sha256": model.sha256}
        self.bvalues = voxels.bvalues[self.signals.columns]
        self.evidence, self.columns = self.signals.evidence(self.bvalues, options.sigma), self.signals.columns
        self.limits = limits_of(model.about.get("range", {}), len(self.bvalues), self.ends())
        self.notes += [f"model: {model.source} (SHA-256 {model.sha256[:12]})", *self.signals.notes]

    def parameters(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """S0/s0, f, D, D* (voxel, 4) [µm²/ms] of signals y (voxel, b) over s0."""
        raise NotImplementedError

    def ends(self) -> NDArray[np.float32] | None:
        """What f, D and D* (3, 2) [µm²/ms] of the network can be at all; None where nothing limits them."""
        return None

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels: see `Fitter.fit`."""
        y, base = self.signals(np.asarray(signals, np.float32), s0)
        parameters = in_fixed_blocks(y, self.parameters, first)
        strange = are_strange(self.model, y, self.launch)
        found = to_estimates(y, base, parameters, self.bvalues, self.limits, strange, self.signals.weights)
        found = with_errors(found, self.model, y, parameters, self.launch)
        return judged(self.launch, found, self.evidence)
