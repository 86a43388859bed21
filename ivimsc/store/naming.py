"""What fits are called where several stand side by side."""

from collections.abc import Sequence

from ivimsc.errors import InputError
from ivimsc.store.estimates import EstimateStore

__all__ = ["name_fits"]


def name_fits(fits: Sequence[EstimateStore]) -> dict[str, EstimateStore]:
    """Give every fit a name: its method; where a method comes twice, its file's name; where that does, the folder's too.

    Parameters
    ----------
    fits : open stores

    Returns
    -------
    name -> fit, in the order given

    Raises
    ------
    InputError
        for no fit, and for the same file twice
    """
    if not fits:
        raise InputError("estimates: found no estimate store, expected at least one")
    files = [fit.path.resolve() for fit in fits]
    for file, fit in zip(files, fits, strict=True):
        if files.count(file) > 1:
            raise InputError(f"{fit.path}: found twice, expected different estimate stores")
    methods, stems = [fit.method for fit in fits], [file.stem for file in files]
    names = [
        method if methods.count(method) == 1 else stem if stems.count(stem) == 1 else f"{file.parent.name}_{stem}"
        for method, stem, file in zip(methods, stems, files, strict=True)
    ]
    names = [name if names.count(name) == 1 else f"{name} ({k})" for k, name in enumerate(names, 1)]
    return dict(zip(names, fits, strict=True))
