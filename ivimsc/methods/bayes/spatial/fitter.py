"""bayes with the spatial prior, made ready for one data set: its voxels only, by their numbers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ivimsc import fitter
from ivimsc.device.launch import Launch, run_blocks
from ivimsc.device.verdict import evidence_of, judged
from ivimsc.estimates import Estimates
from ivimsc.methods.bayes import rows
from ivimsc.methods.bayes.problem import Problem, Results
from ivimsc.methods.bayes.spatial.final import spatial_kernel
from ivimsc.methods.bayes.spatial.volume import Field
from ivimsc.methods.bayes.summary import named
from ivimsc.numerics.scaling import scales

__all__ = ["SpatialFitter"]

BLOCK = 256  # voxels per call


class SpatialFitter(fitter.Fitter):
    """bayes made ready with a prior for each voxel of a data set.

    Attributes
    ----------
    problem : what is the same for all voxels; its prior is the population
    field : what the neighbours say
    """

    def __init__(self, problem: Problem, field: Field, launch: Launch, notes: list[str],
                 weights: NDArray[np.float64]) -> None:  # fmt: skip
        super().__init__(launch, notes)
        self.problem, self.field, noise = problem, field, problem.noise
        of_image = float(noise.sigma) / np.sqrt(np.mean(1 / weights))
        self.evidence = evidence_of(noise.b.astype(np.float64) * 1e3, of_image, bool(noise.s0 > 0), weights=weights)

    def fit(self, signals: Any, first: int = 0, s0: NDArray[np.float32] | None = None) -> Estimates:
        """Fit some voxels of the data set: see `Fitter.fit`; `first` says which they are, `s0` is not used."""
        n, field = len(signals), self.field
        scale = np.empty(n, np.float32)
        scales(signals, scale)
        results = Results(np.empty((rows.ROWS, n), np.float32), np.empty(n, np.uint8), np.empty((0, 3), np.float32))
        run_blocks(self.launch, spatial_kernel, n, first, signals, scale, self.problem, field.hood, field.beliefs,
                   field.coupling, results, block=BLOCK)  # fmt: skip
        return judged(self.launch, named(results.values, results.outcome), self.evidence)
