"""The arrays that a model has to hold, and the shapes that they have to have among themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ivimsc.errors import InputError
from ivimsc.models.file import Model

__all__ = ["Layout", "layers_layout", "require_layout"]

Shape = tuple[str | int, ...]


@dataclass(frozen=True)
class Layout:
    """What the arrays of a model have to be.

    Attributes
    ----------
    arrays : name -> shape: a length, or the name of one that is the same wherever it stands; ``input`` is the number of
        the model's b-values
    also : arrays that may be there beside these; None for a shape that does not matter
    even : names of lengths that have to be even
    """

    arrays: Mapping[str, Shape]
    also: Mapping[str, Shape | None] = field(default_factory=dict)
    even: tuple[str, ...] = ()


def layers_layout(model: Model, outputs: int, before: Shape = ()) -> dict[str, Shape]:
    """The shapes of plain layers weight0, bias0, weight1 …: as many as the model has weights.

    Parameters
    ----------
    model : whose layers are counted
    outputs : numbers that the last layer gives
    before : axes that come first in every array
    """
    n, shapes, into = max(sum(name.startswith("weight") for name in model.arrays), 1), {}, "input"
    for i in range(n):
        out = outputs if i == n - 1 else f"width{i}"
        shapes |= {f"weight{i}": (*before, out, into), f"bias{i}": (*before, out)}
        into = out
    return shapes


def require_layout(model: Model, layout: Layout) -> dict[str, int]:
    """Refuse a model whose arrays are not there, or do not belong together (InputError); gives the lengths by name."""
    missing = [name for name in layout.arrays if name not in model.arrays]
    if missing:
        raise InputError(f"{model.source}: found no {missing[0]}, expected the weights of {model.method}: {', '.join(layout.arrays)}")  # fmt: skip
    odd = model.arrays.keys() - layout.arrays.keys() - layout.also.keys()
    if odd:
        raise InputError(f"{model.source}: found weights named {min(odd)[:40]!r}, expected those of {model.method}: {', '.join(layout.arrays)}")  # fmt: skip
    lengths: dict[str, int] = {}
    if model.bvalues is not None:
        lengths["input"] = len(model.bvalues)
    for name, expected in {**layout.arrays, **layout.also}.items():
        if name in model.arrays and expected is not None:
            _require_shape(model, name, expected, lengths)
    for name in layout.even:
        if lengths[name] % 2:
            raise InputError(f"{model.source}: found {lengths[name]} {name}s, expected an even number")
    return lengths


def _require_shape(model: Model, name: str, expected: Shape, lengths: dict[str, int]) -> None:
    shape = model.arrays[name].shape
    if len(shape) != len(expected):
        raise InputError(f"{model.source}: found {name} of shape {shape}, expected {_words(expected, lengths)}")
    for axis, length in zip(expected, shape, strict=True):
        wanted = axis if isinstance(axis, int) else lengths.setdefault(axis, length)
        if axis == "input" and length != wanted:
            raise InputError(f"{model.source}: found weights for {length} b-values, expected {wanted}, those that it names")  # fmt: skip
        if length != wanted or length < 1:
            raise InputError(f"{model.source}: found {name} of shape {shape}, expected {_words(expected, lengths)}")


def _words(expected: Shape, lengths: Mapping[str, int]) -> str:
    """A shape for people: (unit 4, atom 600)."""
    return "(" + ", ".join(str(a) if isinstance(a, int) else f"{a} {lengths.get(a, '')}".strip() for a in expected) + ")"  # fmt: skip
