"""NIfTI files as nibabel writes them, and files with exactly the stored values and scaling that a test wants."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.3, -0.2, 0.1) @ np.diag([-1.25, 1.25, 4.0]), [80.5, -70.25, 12]
)
BVALUES = [0, 50, 800, 50]  # two shells of one volume and one of two


def save(path: Path, data: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    """Write with nibabel."""
    kind = nib.Nifti1Pair if path.suffix == ".img" else nib.Nifti1Image
    nib.save(kind(data, affine, dtype=data.dtype), path)
    return path


def stored(
    path: Path, data: np.ndarray, slope: float, inter: float, order: str = "<", affine: np.ndarray = OBLIQUE
) -> Path:
    """A file with exactly these stored values, byte order and scaling, which nibabel's writer would choose itself."""
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(data.dtype.newbyteorder(order))
    header.set_data_shape(data.shape)
    header.set_sform(affine, 1)
    header["scl_slope"], header["scl_inter"], header["vox_offset"] = slope, inter, 352
    content = header.binaryblock + bytes(4) + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def patch(path: Path, place: int, content: bytes) -> Path:
    """Write other bytes into a plain file, which no library would write."""
    data = bytearray(path.read_bytes())
    data[place : place + len(content)] = content
    path.write_bytes(data)
    return path


def series(shape: tuple = (3, 4, 2, 4), dtype: str = "int16", seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (draw.integers(0, 100, shape) if np.dtype(dtype).kind in "iu" else draw.random(shape)).astype(dtype)
