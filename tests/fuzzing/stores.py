"""Stores as a stranger would write them, with the HDF5 library: something in them does not belong there."""

import contextlib
import json
from pathlib import Path

import h5py
import numpy as np

from tests.fuzzing.mutators import VALUES, changed_json


def rewrite_store(good: Path, target: Path, random: np.random.Generator) -> str:
    """A store that HDF5 itself wrote, with something in it that does not belong there, and no checksums."""
    target.write_bytes(good.read_bytes())
    with h5py.File(target, "r+") as file:
        if random.random() < 0.8:
            file.attrs.pop("checksums", None)
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name, attribute = (some[int(random.integers(len(some)))] for some in (names, list(file.attrs)))
        how = _HOWS[int(random.integers(len(_HOWS)))]
        with contextlib.suppress(TypeError, ValueError, KeyError, OSError, RuntimeError, OverflowError):
            how(file, name, attribute, random)  # HDF5 cannot write everything
    return f"{how.__name__[1:]} {attribute if 'attribute' in how.__name__ else name}"


def _attribute(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    value = VALUES[int(random.integers(len(VALUES)))]
    file.attrs[attribute] = json.dumps(value) if isinstance(value, dict) or random.random() < 0.3 else value


def _json_attribute(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    texts = [key for key in ("attrs", "options", "notes", "tissue_names") if key in file.attrs]
    key = texts[int(random.integers(len(texts)))]
    file.attrs[key] = json.dumps(changed_json(json.loads(file.attrs[key]), random))


def _no_attribute(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    del file.attrs[attribute]


def _numbers_attribute(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    value = np.array(file.attrs[attribute], np.float64)
    value.reshape(-1)[int(random.integers(value.size))] = random.choice([np.nan, np.inf, -1, 0, 1e18, 2**31])
    file.attrs[attribute] = value


def _no_table(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    del file[name]


def _table(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    old = file[name][...]
    news = [old.astype("f8"), old.astype("i8"), old[:-1], old[..., None], old.reshape(-1), np.zeros(old.shape, "S3"), old * -1, old[:0],
            np.full_like(old, 255), np.concatenate([old, old]), old[::-1], old.astype(">f4"), np.float64(1), old.astype("f2")]  # fmt: skip
    del file[name]
    file[name] = news[int(random.integers(len(news)))]


def _values(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    values = file[name][...]
    with np.errstate(all="ignore"):
        values.reshape(-1)[int(random.integers(values.size))] = random.choice([np.nan, -1, 0, 200, 1e30])
    file[name][...] = values


def _sparse(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    old, n = file[name], int(random.choice([10**6, 6 * 10**8, 2**40]))
    shape, dtype = (n, *old.shape[1:]), old.dtype
    del file[name]
    file.create_dataset(name, shape, dtype, chunks=(4096, *shape[1:]))


def _packed(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    values = file[name][...]
    del file[name]
    file.create_dataset(name, data=values, compression="gzip", chunks=values.shape)


def _link(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    del file[name]
    links = [h5py.SoftLink("/index"), h5py.SoftLink(f"/{name}"), h5py.ExternalLink("/etc/passwd", "/s0"), h5py.ExternalLink("v.h5", "index")]  # fmt: skip
    file[name] = links[int(random.integers(len(links)))]


def _second_name(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    file["again"] = file[name]


def _external(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    old = file[name]
    shape, dtype = old.shape, old.dtype
    del file[name]
    file.create_dataset(name, shape, dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _virtual(file: h5py.File, name: str, attribute: str, random: np.random.Generator) -> None:
    old = file[name]
    layout = h5py.VirtualLayout(old.shape, old.dtype)
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", old.shape, old.dtype)
    del file[name]
    file.create_virtual_dataset(name, layout)


_HOWS = [_attribute, _attribute, _json_attribute, _json_attribute, _no_attribute, _numbers_attribute, _no_table, _table, _table, _values,
         _values, _sparse, _packed, _link, _second_name, _external, _virtual]  # fmt: skip
