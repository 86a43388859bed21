"""The cohorts of the paper's protocol: synthetic placenta scans, weeks 13 to 37, stacked along z; the placenta alone.

`cohort-train` (15 scans) and `cohort-test` (9 scans) are draws of one population at 1.5 T, with the paper's numbers of
voxels (section 3) and weeks that alternate; `cohort-3t` is a second centre. Tissue codes are scan numbers.

f, D and D* are smooth functions of normal deviates, so that their density is smooth and their range never clipped: the
sum of a scan's own deviate, a trend over the weeks, the lobules (a core, fast and rich in blood, and a rim; the contrast
is that of data/literature.csv) and fields of several lengths. Pooled over the scans they lie about f 0.27 ± 0.10,
D 1.6 ± 0.24 µm²/ms and D* 46 µm²/ms, log-normal with a log-SD of 0.34. S0 = 1, as in the paper's synthetic data.

f, its spread between women, the spread of D and D*, the trends and the T2 of blood are as published, where the publications agree;
data/README.md says what is published, what is not, and which way was taken.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ivimsc.errors import InputError
from ivimsc.numerics.random_numbers import TRUTH, normals
from ivimsc.phantoms import Block
from ivimsc.phantoms.literature import tissues
from ivimsc.phantoms.scene import Scene
from ivimsc.phantoms.shapes import Points, field, make_axes
from ivimsc.voxels import Geometry

__all__ = ["SNR_3T", "TITLE", "make"]

TITLE = "placenta scans, weeks 13 to 37, of one population at 1.5 T (train, test) or of a second centre at 3 T"
SNR_3T = 45.0  # what the second centre is simulated at in the paper's tables; 30 at 1.5 T
SHAPE = (160, 64, 15)  # matrix of one scan: 1.25 × 1.25 × 4 mm, the paper's
FOV = (200.0, 80.0, 60.0)  # mm
FIRST_WEEK, LAST_WEEK = 13, 37
BEND = 130.0  # mm: radius of the uterine wall that the placenta lies on
PITCH = 27.0  # mm: a lobule's width
LENGTHS = ((14.0, 0.15), (7.0, 0.40), (4.0, 0.33), (1.6, 0.12))  # mm, and the share of the variance within an organ
LIMITS = {"f": (0.02, 0.70), "d": (0.4e-3, 3.0e-3), "dstar": (6e-3, 180e-3)}  # asymptotes of the logistic curves
ECHO_TIME = 76.0  # ms; the paper's section 3
# ms, by field strength [T]: of blood and of tissue. Blood at 1.5 T: fetal blood, haematocrit 0.45 (ours), saturation 0.84, by the formula of
# PMC5980668; at 3 T: neonatal arterial blood, haematocrit 0.42. Tissue: assumptions.
T2 = {1.5: (144.0, 90.0), 3.0: (191.0, 75.0)}
CORE = 0.52  # mean weight of the lobules' cores


@dataclass(frozen=True)
class Population:
    """Where scans come from. Centre and widths in the unit of the parameter (D* in logarithms), widths are SDs.

    Attributes
    ----------
    centre : f [1], D [mm²/s], D* [mm²/s] of a middling voxel
    within : within an organ, apart from core and rim [1, mm²/s, log]
    subjects : between scans [1, mm²/s, log]
    trend : from the first week to the last [1, mm²/s, log]
    tesla : field strength; `centre` of f is at 1.5 T, and re-weighted by T2 elsewhere
    """

    centre: tuple[float, float, float]
    within: tuple[float, float, float]
    subjects: tuple[float, float, float]
    trend: tuple[float, float, float]
    tesla: float


# Between scans: f of 44 women, D and D* of 31. No trend at 1.5 T (two studies of three); at 3 T f rises and D falls.
BETWEEN = (0.046, 0.03e-3, 0.10)
FIRST = Population((0.26, 1.6e-3, 45e-3), (0.092, 0.245e-3, 0.305), BETWEEN, (0.0, 0.0, 0.0), 1.5)
SECOND = Population((0.26, 1.7e-3, 52e-3), (0.095, 0.27e-3, 0.34), BETWEEN, (0.075, -0.1e-3, 0.0), 3.0)


@dataclass(frozen=True)
class Cohort:
    """Scans by number, of all that a population has (their weeks are evenly spaced), and their voxels in all."""

    scans: tuple[int, ...]
    of: int
    voxels: int
    population: Population


TESTED = (2, 5, 8, 10, 13, 16, 18, 21, 23)
COHORTS = {
    "cohort-train": Cohort(tuple(n for n in range(1, 25) if n not in TESTED), 24, 324_016, FIRST),
    "cohort-test": Cohort(TESTED, 24, 248_059, FIRST),
    "cohort-3t": Cohort(tuple(range(31, 37)), 6, 150_000, SECOND),
}


def make(shape: tuple[int, int, int] | None, seed: int, name: str) -> Scene:
    """The cohort `name`; the same seed gives the same scans, another one other scans of the same population.

    Parameters
    ----------
    shape : matrix of the stack (x, y, scans × slices); a coarser matrix has fewer voxels in proportion
    seed : keys organs and parameters
    name : one of `COHORTS`

    Raises
    ------
    InputError
        for a shape that is no whole number of slices for each scan, or has fewer voxels than scans
    """
    cohort = COHORTS[name]
    scans = len(cohort.scans)
    x, y, z = shape or (SHAPE[0], SHAPE[1], SHAPE[2] * scans)
    if z % scans:
        raise InputError(f"shape: found {x},{y},{z}, expected a multiple of {scans} slices: {name} has {scans} scans")
    axes, one = make_axes((x, y, z // scans), FOV)
    stack = Geometry((x, y, z), *[one.affine] * 3, 1, 1, one.zooms)
    counts = _counts(cohort, round(cohort.voxels * x * y * (z // scans) / math.prod(SHAPE)))
    if min(counts) < 1:
        raise InputError(f"shape: found {x},{y},{z}, expected a finer matrix: a scan would have no voxel")
    own = _subjects(cohort, seed)
    parts = [_scan(cohort, k, n, axes, own, seed) for k, n in enumerate(counts)]
    for k, part in enumerate(parts):
        part.index[:, 2] += k * (z // scans)
    truth = {key: np.concatenate([part.truth[key] for part in parts]) for key in parts[0].truth}
    block = Block(truth, *(np.concatenate([getattr(part, f) for part in parts]) for f in ("tissue", "index")))
    names = {n: f"scan {n:02d}, week {_week(cohort, n):.0f}" for n in cohort.scans}
    return Scene(stack, block, names)


def _week(cohort: Cohort, number: int) -> float:
    """Week of gestation of a scan: evenly spaced from the first to the last."""
    first = 31 if cohort.population is SECOND else 1
    return FIRST_WEEK + (LAST_WEEK - FIRST_WEEK) * (number - first) / (cohort.of - 1)


def _age(cohort: Cohort, number: int) -> float:
    """0 in the first week, 1 in the last."""
    return (_week(cohort, number) - FIRST_WEEK) / (LAST_WEEK - FIRST_WEEK)


def _counts(cohort: Cohort, total: int) -> list[int]:
    """Voxels of every scan: the organ grows with the weeks; they sum to `total` exactly."""
    growth = np.array([0.4 + 1.2 * _age(cohort, n) for n in cohort.scans])
    edges = np.round(np.concatenate([[0.0], np.cumsum(growth)]) / growth.sum() * total).astype(int)
    return np.diff(edges).tolist()


def _subjects(cohort: Cohort, seed: int) -> NDArray[np.float64]:
    """What sets each scan apart (scan, 3): its trend and its own deviate.

    A cohort of few scans is matched to its population: the deviates are the quantiles of the normal distribution, in an
    order that the seed draws.
    """
    n, population = len(cohort.scans), cohort.population
    quantiles = ndtri((np.arange(n) + 0.5) / n)
    draws = np.array([[normals(seed, TRUTH, scan, p)[0] for p in range(3)] for scan in cohort.scans])
    age = np.array([_age(cohort, scan) for scan in cohort.scans])[:, None]
    return quantiles[draws.argsort(0).argsort(0)] * population.subjects + (age - 0.5) * population.trend


def _scan(cohort: Cohort, k: int, count: int, axes: Points, own: NDArray, seed: int) -> Block:
    """One scan: `count` voxels of an organ, and their truth."""
    number, population = cohort.scans[k], cohort.population
    order, depth = _organ(axes, number, _age(cohort, number), seed, count)
    places = np.sort(order)  # x fastest, as in a NIfTI file
    index = np.stack(np.unravel_index(places, axes[0].shape, order="F"), axis=-1).astype(np.int32)
    points = tuple(axis.ravel(order="F")[places] for axis in axes)
    core = _core(points, depth.ravel(order="F")[places], number, seed) - CORE
    truth = {"s0": np.ones(count, np.float32)}
    for p, key in enumerate(LIMITS):
        truth[key] = _values(population, p, key, core, own[k], points, number, seed)
    if population.tesla != 1.5:
        truth["f"] = _reweight(truth["f"], population.tesla)
    return Block(truth, np.full(count, number, np.uint8), index)


def _organ(axes: Points, number: int, age: float, seed: int, count: int) -> tuple[NDArray, NDArray]:
    """The voxels of the organ, by place (x fastest): the `count` nearest to its middle; and the depth (x, y, z) [1].

    A disc on a bent wall, as thick in mm as the week, cut by the slab as in a scan. `depth` is -1 and 1 at its faces.
    """
    x, y, z = axes
    thickness = FIRST_WEEK + 2 + (LAST_WEEK - FIRST_WEEK) * age
    voxel = math.prod(FOV) / x.size
    width = count * voxel / (math.pi / 4 * thickness * FOV[2] * 0.82)  # 0.82: the slab holds less than a cylinder
    depth = (y + x * x / (2 * BEND) - width * width / (16 * BEND)) / (thickness / 2)
    radius = np.sqrt((x / (width / 2)) ** 2 + depth**2 + (z / 62) ** 2)
    radius += 0.05 * field(axes, 26.0, seed, _number(number, 3, 0)) + 0.02 * field(
        axes, 9.0, seed, _number(number, 3, 1)
    )
    return np.argsort(radius.ravel(order="F"), kind="stable")[:count], depth


def _core(points: Points, depth: NDArray, number: int, seed: int) -> NDArray[np.float32]:
    """Weight of the core tissue (voxel,): 1 in the middle of a lobule, falling to 0 between the lobules and at the faces."""
    x, _, z = points
    nearest = np.full(x.shape, np.inf, np.float32)
    for row in range(-2, 3):
        for column in range(-5, 6):
            jitter = normals(seed, TRUTH, (row + 2) * 11 + column + 5, _number(number, 3, 2))
            u, v = (
                (place + 0.13 * j) * PITCH
                for place, j in zip((column + 0.5 * (row % 2), 0.9 * row), jitter, strict=True)
            )
            nearest = np.minimum(nearest, np.hypot(x - np.float32(u), z - np.float32(v)))
    radius = np.hypot(nearest / (0.62 * PITCH), 0.9 * depth) + 0.08 * field(points, 8.0, seed, _number(number, 3, 3))
    return 1 / (1 + np.exp((radius - 0.80) / 0.13))


def _values(population: Population, p: int, key: str, core: NDArray, own: NDArray, points: Points, number: int, seed: int) -> NDArray[np.float32]:  # fmt: skip
    """Parameter number `p` (voxel,): a logistic curve of the sum of its parts, in log D* for D*."""
    code = ("f", "D", "Dstar")[p]
    table = tissues("placenta")
    inner, outer = (getattr(table[f"placenta {name}"], code)[0] for name in ("core", "rim"))
    (low, high), centre = LIMITS[key], population.centre[p]
    if key == "dstar":
        inner, outer, low, high, centre = (math.log(v) for v in (inner, outer, low, high, centre))
    deviate = sum(
        math.sqrt(share) * field(points, length, seed, _number(number, p, n))
        for n, (length, share) in enumerate(LENGTHS)
    )
    shift = (inner - outer) * core + population.within[p] * deviate + own[p]
    middle = (centre - low) / (high - low)
    slope = (high - low) * middle * (1 - middle)  # of the logistic curve at the centre
    value = low + (high - low) / (1 + np.exp(-(math.log(middle / (1 - middle)) + shift / slope)))
    return (np.exp(value) if key == "dstar" else value).astype(np.float32)


def _number(scan: int, p: int, n: int) -> int:
    """The number of a random field: scan, parameter (3: the organ) and part."""
    return 1024 + scan * 32 + p * 8 + n


def _weight(tesla: float) -> float:
    """How much more signal blood has than tissue at the echo time, for the same amount of either."""
    blood, tissue = T2[tesla]
    return math.exp(-ECHO_TIME / blood + ECHO_TIME / tissue)


def _reweight(f: NDArray[np.float32], tesla: float) -> NDArray[np.float32]:
    """The perfusion fraction that is seen at `tesla` where `f` is seen at 1.5 T: f' = f w / (1 - f + f w)."""
    w = np.float32(_weight(tesla) / _weight(1.5))
    return f * w / (1 - f + f * w)
