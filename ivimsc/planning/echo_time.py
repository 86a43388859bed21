"""What a large b-value costs: its gradients take time, and in that time the signal decays with T2.

All images of a series share one echo time, the one that its largest b-value needs. Two rectangular gradients of length δ
and strength G, apart by the refocusing pulse, give (Stejskal and Tanner, J. Chem. Phys. 42:288, 1965)

    b = (γ G δ)² (Δ - δ / 3),    Δ = δ + gap

and take Δ + δ. The rest of the echo time (excitation, half of the readout) does not depend on b. So a protocol whose
largest b-value is smaller than `bmax` has an echo time that is shorter by the difference of Δ + δ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ivimsc.errors import InputError
from ivimsc.phantoms.literature import Tissue

__all__ = ["EchoTime"]

GAMMA = 2.6752218744e8  # rad/s/T, of protons
GAP = 8.0  # ms between the two gradients: refocusing pulse and crushers; an assumption, usual for body scanners
STRONGEST = 1000.0  # mT/m


@dataclass(frozen=True)
class EchoTime:
    """The echo time of protocols.

    Attributes
    ----------
    te : of a protocol up to `bmax` [ms]
    gradient : [mT/m]
    t2 : of the tissue [ms]
    bmax : [s/mm²]
    """

    te: float
    gradient: float
    t2: float
    bmax: float

    @classmethod
    def of(
        cls, te: float | None, gradient: float | None, t2: float | None, bmax: float, tissues: Sequence[Tissue]
    ) -> "EchoTime | None":
        """The echo times where they are asked for; None where neither `te` nor `gradient` is given.

        Raises
        ------
        InputError
            for one of them without the others, and for an echo time that the gradients alone exceed
        """
        given = {"te": te, "gradient": gradient, "t2": t2}
        if te is None and gradient is None:
            if t2 is not None:
                raise InputError(f"t2: found {t2:g} without te and gradient, expected all three or none")
            return None
        missing = [name for name, value in given.items() if value is None]
        if missing:
            there = ", ".join(name for name, value in given.items() if value is not None)
            raise InputError(f"{missing[0]}: found none with {there}, expected te, gradient and t2 together")
        for name, value, most in (("te", te, 1000.0), ("gradient", gradient, STRONGEST), ("t2", t2, 1e5)):
            if not 0 < value <= most:
                raise InputError(f"{name}: found {value:g}, expected a number above 0, at most {most:g}")
        made = cls(te, gradient, t2, bmax)
        if te <= made.encoding(bmax):
            raise InputError(
                f"te: found {te:g} ms, expected more than {made.encoding(bmax):.1f} ms, which the gradients of b = {bmax:g} s/mm² "
                f"take at {gradient:g} mT/m"
            )
        return made

    def encoding(self, b: float) -> float:
        """Time from the beginning of the first gradient to the end of the second [ms], for b in s/mm²."""
        if b <= 0:
            return GAP
        area = b * 1e6 / (GAMMA * self.gradient * 1e-3) ** 2  # s³: δ² (2 δ / 3 + gap)
        roots = np.roots([2 / 3, GAP * 1e-3, 0.0, -area])
        length = float(roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real[0])
        return 2e3 * length + GAP

    def at(self, b: float) -> float:
        """Echo time [ms] of a protocol whose largest b-value is `b` [s/mm²]."""
        return self.te - self.encoding(self.bmax) + self.encoding(b)

    def gain(self, b: float) -> float:
        """Signal of such a protocol over that of one up to `bmax`."""
        return float(np.exp((self.te - self.at(b)) / self.t2))
