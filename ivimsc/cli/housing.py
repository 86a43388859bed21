"""A place for what Matplotlib keeps, where the user has no home that can be written to: else it complains on every start."""

import os
from contextlib import suppress
from pathlib import Path

__all__ = ["house_matplotlib"]


def house_matplotlib() -> None:
    """Give Matplotlib a private temporary folder (``MPLCONFIGDIR``) if it would find no other; one that is set stays."""
    if "MPLCONFIGDIR" in os.environ:
        return
    with suppress(RuntimeError, OSError):  # no home at all
        wanted = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config").absolute()
        nearest = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return
    from ivimsc.compiling.cache import private_folder  # slow, for it loads Numba

    folder = private_folder()
    if folder is not None:
        os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
