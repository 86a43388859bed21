"""The one table of the maps that a report shows: what they are called, how they are scaled, coloured and kept."""

from typing import NamedTuple

from ivimsc.physics.parameters import BY_KEY

__all__ = ["SHOWN", "Shown"]


class Shown(NamedTuple):
    """One map of the report.

    label, name : symbol and words; unit, scale : shown is value · scale, in `unit`; colours : name of the colour map
    range : of the colours, in `unit`; None where the data decide
    error : kept with fewer digits than a value
    step : smallest difference that is kept at best, in the unit of the API, or with `of_s0` as a part of the median S0
    """

    label: str
    name: str
    unit: str
    scale: float
    colours: str
    range: tuple[float, float] | None
    error: bool
    step: float
    of_s0: bool = False


def _parameter(key: str, colours: str, step: float, of_s0: bool = False) -> Shown:
    p = BY_KEY[key]
    return Shown(p.symbol, p.name, p.display_unit, p.display_scale, colours, p.display_range, False, step, of_s0)


def _error(key: str, limit: float, step: float) -> Shown:
    p = BY_KEY[key]
    name = f"standard error or posterior SD of {p.symbol}"
    return Shown(f"SD {p.symbol}", name, p.display_unit, p.display_scale, "cividis", (0.0, limit), True, step)


# In the order of the keys 1 to 9. The colour maps are even in lightness, so that they survive colour blindness and grey print.
SHOWN = {
    "s0": _parameter("s0", "gray", 1e-4, of_s0=True),
    "f": _parameter("f", "magma", 1e-4),
    "d": _parameter("d", "viridis", 1e-6),
    "dstar": _parameter("dstar", "magma", 1e-5),
    "fstd": _error("f", 20.0, 1e-4),
    "dstd": _error("d", 0.5, 1e-6),
    "dstarstd": _error("dstar", 60.0, 1e-5),
    "rmse": Shown("RMSE", "root mean square of the residuals", "a.u.", 1.0, "cividis", None, True, 1e-6, of_s0=True),
    "outcome": Shown("outcome", "how the fit ended", "", 1.0, "", None, False, 1.0),
    "chi2": Shown("χ²", "reduced chi-square of the residuals", "", 1.0, "cividis", (0.0, 4.0), True, 1e-3),
    "k": _parameter("k", "viridis", 1e-3),
    "f2": _parameter("f2", "magma", 1e-4),
    "dstar2": _parameter("dstar2", "magma", 1e-4),
    "kstd": _error("k", 1.0, 1e-3),
    "f2std": _error("f2", 20.0, 1e-4),
    "dstar2std": _error("dstar2", 300.0, 1e-4),
    "gap": Shown("gap", "relative duality gap", "", 1.0, "cividis", None, True, 1e-9),
}
