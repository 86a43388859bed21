"""The one table of IVIM parameters: symbols, keys, units, default bounds and display ranges.

Everything that names, bounds, stores or draws a parameter reads it from here.
"""

from dataclasses import dataclass

from ivimsc.errors import InputError

__all__ = ["BY_KEY", "MORE_PARAMETERS", "PARAMETERS", "Bounds", "Parameter"]


@dataclass(frozen=True)
class Parameter:
    """One parameter of equation (1).

    Attributes
    ----------
    code : name in Python (``S0, f, D, Dstar``)
    key : name in files (``s0, f, d, dstar``)
    symbol : name in figures
    name : name in words
    unit : unit in the API and in files
    lower, upper : default bounds, in `unit`
    display_unit, display_scale : figures show ``value * display_scale`` and say `display_unit`
    display_range : range of colour bars and axes, in `display_unit`; None where the data decide (S0)
    """

    code: str
    key: str
    symbol: str
    name: str
    unit: str
    lower: float
    upper: float
    display_unit: str
    display_scale: float
    display_range: tuple[float, float] | None


PARAMETERS = (
    Parameter("S0", "s0", "S₀", "signal at b = 0", "as the input", 0.0, float("inf"), "a.u.", 1.0, None),
    Parameter("f", "f", "f", "perfusion fraction", "1", 0.0, 1.0, "%", 100.0, (0.0, 60.0)),
    Parameter("D", "d", "D", "tissue diffusivity", "mm²/s", 0.0, 5e-3, "µm²/ms", 1e3, (0.0, 3.0)),
    Parameter("Dstar", "dstar", "D*", "pseudo-diffusivity", "mm²/s", 5e-3, 0.2, "µm²/ms", 1e3, (0.0, 120.0)),
)
# Parameters of the models beyond equation (1): see `physics.models`.
MORE_PARAMETERS = (
    Parameter("K", "k", "K", "diffusional kurtosis", "1", 0.0, 3.0, "1", 1.0, (0.0, 2.0)),
    Parameter("f2", "f2", "f₂", "fraction of the fast pool", "1", 0.0, 1.0, "%", 100.0, (0.0, 30.0)),
    Parameter("Dstar2", "dstar2", "D*₂", "pseudo-diffusivity of the fast pool", "mm²/s", 0.04, 1.0, "µm²/ms", 1e3, (0.0, 500.0)),
)  # fmt: skip
MOST = 1.0  # mm²/s: no bound of D or D* is larger
BY_KEY = {parameter.key: parameter for parameter in (*PARAMETERS, *MORE_PARAMETERS)}


@dataclass(frozen=True)
class Bounds:
    """Box bounds of a fit; S0 > 0 is free.

    Attributes
    ----------
    f : (lower, upper), without unit, within 0..1
    D, Dstar : (lower, upper) in mm²/s, finite and >= 0; the range of D* lies above that of D

    Raises
    ------
    InputError
        for bounds out of order or out of these ranges, and where D or D* seems to be in another unit
    """

    f: tuple[float, float] = (BY_KEY["f"].lower, BY_KEY["f"].upper)
    D: tuple[float, float] = (BY_KEY["d"].lower, BY_KEY["d"].upper)
    Dstar: tuple[float, float] = (BY_KEY["dstar"].lower, BY_KEY["dstar"].upper)

    @classmethod
    def with_fixed(
        cls, f: tuple[float, float], D: tuple[float, float], Dstar: tuple[float, float], fixed: float | None
    ) -> "Bounds":
        """The bounds of a fit in which D* is held at `fixed` [mm²/s]: it then has one value; None: it is fitted.

        Raises
        ------
        InputError
            for bounds out of order, and for a D* that is not within MOST or not above the lower bound of D
        """
        bounds = cls(f, D, Dstar)
        if fixed is None:
            return bounds
        if not D[0] < fixed <= MOST:
            raise InputError(f"option dstar: found {fixed:g}, expected a D* in mm²/s above the lower bound of D ({D[0]:g}) and at most {MOST:g}")  # fmt: skip
        object.__setattr__(bounds, "Dstar", (fixed, fixed))
        return bounds

    def __post_init__(self) -> None:
        for name, lowest, highest in (("f", 0.0, 1.0), ("D", 0.0, float("inf")), ("Dstar", 0.0, float("inf"))):
            lower, upper = getattr(self, name)
            if not lowest <= lower < upper <= highest or upper == float("inf"):
                limit = f"{lowest:g} <= lower < upper" + (f" <= {highest:g}" if highest < float("inf") else "")
                raise InputError(f"bounds of {name}: found {lower:g}..{upper:g}, expected {limit}")
        for name in ("D", "Dstar"):
            lower, upper = getattr(self, name)
            if upper > MOST:
                raise InputError(
                    f"bounds of {name}: found {lower:g}..{upper:g}, expected at most {MOST:g} mm²/s; these are likely to be "
                    f"in µm²/ms: divided by 1000 they are {lower / 1e3:g}..{upper / 1e3:g} mm²/s"
                )
        if self.Dstar[0] <= 0:
            raise InputError(f"bounds of Dstar: found {self.Dstar[0]:g}..{self.Dstar[1]:g}, expected a lower bound > 0")
        if self.D[1] > self.Dstar[1] or self.D[0] >= self.Dstar[0]:
            raise InputError(
                f"bounds: found D {self.D} and Dstar {self.Dstar}, expected the range of Dstar above that of D"
            )
