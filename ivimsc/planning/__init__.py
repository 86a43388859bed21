"""Planning a protocol: the b-values, with repeats, that leave the smallest expected error (`design`).

request.py     what is asked for, checked
prior.py       what the tissues are: draws of f, D and D*
posterior.py   the smallest possible mean squared error of a protocol, quickly, for the search
bound.py       the Cramér-Rao bound of a protocol, and its best shares of the scan time, with a certificate
echo_time.py   what a large b-value costs: gradients take time, and time costs signal
search.py      images change their b-values until no change helps
usual.py       protocols that people use
judge.py       the errors of protocols at equal scan time, by the Monte Carlo of `ivimsc compare`
plan.py        all of it in one call
output.py, picture.py   its files
"""

from ivimsc.planning.output import write_design
from ivimsc.planning.plan import Design, design

__all__ = ["Design", "design", "write_design"]
