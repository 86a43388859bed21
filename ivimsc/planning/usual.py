"""Protocols that people use, to compare a design with."""

from typing import NamedTuple

import numpy as np

from ivimsc.simulate import DEFAULT_BVALUES

__all__ = ["Protocol", "usual_protocols"]

FIVE = (20.0, 50.0, 150.0, 300.0, 500.0)  # the paper's section 3


class Protocol(NamedTuple):
    """A name, its source, and the b-value of every image [s/mm²]."""

    name: str
    source: str
    images: tuple[float, ...]


def usual_protocols(volumes: int, bmax: float) -> tuple[Protocol, ...]:
    """The usual protocols.

    Parameters
    ----------
    volumes : images of the design
    bmax : its largest b-value [s/mm²]: the equally spaced protocol goes up to it

    Returns
    -------
    Protocols with as many images as they have; `judge` gives all of them the same scan time
    """
    return (
        Protocol("the paper's ten", "the paper, section 3", DEFAULT_BVALUES),
        Protocol("the paper's five", "the paper, section 3", FIVE),
        Protocol("liver, subset of 4", "Dyvorne et al., Eur. J. Radiol. 83:2109 (2014), doi:10.1016/j.ejrad.2014.09.003",
                 (0.0, 15.0, 150.0, 800.0)),
        Protocol("renal consensus", "Ljimani et al., Magn. Reson. Mater. Phy. 33:177 (2020), doi:10.1007/s10334-019-00790-y: "
                 "its b-values for the apparent diffusion coefficient", (0.0, 100.0, 200.0, 800.0)),
        Protocol("equally spaced", f"{volumes} b-values from 0 to bmax", tuple(np.linspace(0, bmax, volumes))),
    )  # fmt: skip
