"""NIfTI in and out; the only part of the package that knows the format. `image`: files; `series`: files to voxels."""

from ivimsc.nifti.image import (
    bval_text,
    encode_volume,
    geometry_like,
    little_endian,
    read_geometry,
    read_shape,
    read_volume,
    volume_stream,
    write_bval,
    write_volume,
)
from ivimsc.nifti.place import require_same_place
from ivimsc.nifti.series import read_images, read_series

__all__ = [
    "bval_text",
    "encode_volume",
    "geometry_like",
    "little_endian",
    "read_geometry",
    "read_images",
    "read_series",
    "read_shape",
    "read_volume",
    "require_same_place",
    "volume_stream",
    "write_bval",
    "write_volume",
]
