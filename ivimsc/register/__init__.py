"""Registration of a diffusion series to itself, as the paper does it (its section on data and registration).

The mean of all images is the template; every image is registered to it by a rigid, then an affine transform; the means
get sharper, so this is repeated 6 to 10 times, and the pass that still had the least to move is kept. Each pass starts
from the transforms of the one before and looks at the original images, so the result is interpolated once. Images are
compared by mutual information (Mattes), because contrast changes with b. In `planar` mode every slice moves on its own,
within its plane: for single slices, and for series whose slices were taken in different breath-holds.

SimpleITK does the registration (extra [register]).
"""

from ivimsc.register.files import register_file, turned
from ivimsc.register.stage import Registration, register_images

__all__ = ["Registration", "register_file", "register_images", "turned"]
