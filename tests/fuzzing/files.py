"""Good files of every format, how they are judged, and how a stranger would write bad ones with the right tools."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from safetensors.numpy import save

from tests.fuzzing.mutators import changed_json
from tests.fuzzing.stores import rewrite_store

B = np.array([0, 10, 50, 200, 800.0])


class Kind(NamedTuple):
    """A parser: make(folder) gives good files, judge(path) an answer; rewrite(good, target, random) a bad file that is meant.

    exact: a changed file is refused or gives the same answer; text: words are put in; head: bytes that matter most.
    """

    make: Callable[[Path], list[Path]]
    judge: Callable[[Path], Any]
    rewrite: Callable[..., str] | None = None
    exact: bool = False
    text: bool = False
    head: int = 2**20


def _voxels(**more: Any) -> Any:
    from tests.store.makers import make_voxels

    truth = {key: np.linspace(0.1, 1, 100, dtype=np.float32) for key in ("s0", "f", "d", "dstar")}
    attrs = {"sigma": 0.03, "noise": "rician", "notes": ["a note"], "repeats": [1, 2, 3, 4], "phantom": "x"}
    return make_voxels(100, truth=truth, tissue=np.ones(100, np.uint8), tissue_names={1: "a"}, attrs=attrs, **more)


def make_voxels(folder: Path) -> list[Path]:
    from ivimsc.store import write_voxels

    folder.mkdir()
    return [write_voxels(folder / "v.h5", _voxels())]


def judge_voxels(path: Path) -> Any:
    from ivimsc.store import VoxelStore

    with VoxelStore(path) as store:
        places = [values for _, values in store.places()]
        about = [store.geometry.shape, store.geometry.affine, store.geometry.zooms, store.source, store.attrs]
        read = [store.read(0, len(store)), store.truth, store.tissue, store.bvalues, store.tissue_names, store.weights]
        unknown = store.verify() if store.has_checksums else []
        return [places, about, read, unknown]


def make_estimates(folder: Path) -> list[Path]:
    from tests.store.makers import fit

    folder.mkdir()
    return [fit(folder / "plain.h5", _voxels(), [40]), fit(folder / "sparse.h5", _voxels(), [40], spectrum=True)]


def judge_estimates(path: Path) -> Any:
    from ivimsc.store import EstimateStore

    with EstimateStore(path) as store:
        fields = {key: store.read_field(key) for key in store.keys}
        about = [store.method, store.options, store.bvalues, store.threads, store.notes, store.count_outcomes()]
        places = [values for _, values in store.places()]
        more = [list(store.spectrum or []), list(store.dictionary or [])[:2], store.geometry.affine]
        return [fields, about, places, more, store.verify() if store.has_checksums else []]


def make_dictionary(folder: Path) -> list[Path]:
    from ivimsc.physics.dictionary import Dictionary
    from ivimsc.store.dictionaries import write_dictionary

    folder.mkdir()
    D, Dstar = np.linspace(1e-3, 3e-3, 5), np.linspace(5e-3, 0.1, 6)
    write_dictionary(folder / "d.h5", Dictionary(B, D, Dstar))
    write_dictionary(folder / "a.h5", Dictionary(B, D, Dstar, "m", np.exp(-np.outer(B, np.concatenate([D, Dstar])))))
    return [folder / "d.h5", folder / "a.h5"]


def judge_dictionary(path: Path) -> Any:
    from ivimsc.store.dictionaries import read_dictionary

    found = read_dictionary(path)
    return [found.bvalues, found.D, found.Dstar, found.matrix]


def models() -> dict[str, Any]:
    """A model of each kind."""
    from ivimsc.fit.inputs import general_model
    from ivimsc.models import Model

    random, about = (
        np.random.default_rng(0),
        {"bvalues": B[1:].tolist(), "s0": "known", "history": {"validation": [1.0, 0.5]}},
    )
    about |= {
        "range": {"low": [0.0] * 4, "high": [1.5] * 4, "f": [0, 1], "D": [0, 5.0], "Dstar": [5.0, 200.0]},
        "training": {"seed": 1},
    }

    def draw(*shape: int) -> np.ndarray:
        return (0.3 * random.standard_normal(shape)).astype(np.float32)

    plain = {"weight0": draw(6, 4), "bias0": draw(6), "weight1": draw(3, 6), "bias1": draw(3)}
    net = {"weight0": draw(4, 5, 4), "bias0": draw(4, 5), "weight1": draw(4, 1, 5), "bias1": draw(4, 1)}
    net["bounds"] = np.array([[0.7, 1.3], [-0.05, 0.7], [-0.1, 5], [-50, 300]], np.float32)
    grid = np.concatenate([np.linspace(0.5, 2.5, 4), np.linspace(10, 100, 4)]).astype(np.float32)
    units = {"w": abs(draw(3, 4, 8)), "phi": abs(draw(3, 4, 8)), "thresholds": draw(3, 8), "grid": grid}
    free = {"w": abs(draw(1, 4, 8)), "b": draw(2, 8, 8), "thresholds": draw(3, 8), "grid": grid}
    own = {"options": {"threshold": "soft", "residual": "encoded", "form": "factored"}}
    general = general_model()
    return {
        "mlp": Model("mlp", plain, about | {"options": {}}),
        "ivimnet": Model("ivimnet", net, about | {"options": {}}),
        "factored": Model("scdnn", units, about | own),
        "free": Model("scdnn", free, about | {"options": own["options"] | {"threshold": "hard", "residual": "input"}}),
        "general": Model("scdnn", general.arrays, general.about),
    }


def make_models(folder: Path) -> list[Path]:
    from ivimsc.models import write_model

    folder.mkdir()
    return [write_model(folder / f"{name}.safetensors", model) for name, model in models().items()]


def judge_model(path: Path) -> Any:
    """Fit some voxels with the model, on the CPU."""
    import ivimsc
    from ivimsc.models import read_model

    model = read_model(path)
    model.card()
    signals = np.exp(-np.outer(np.linspace(0.5, 2.5, 7), B * 1e-3)).astype(np.float32)
    known = model.method in ("mlp", "ivimnet", "scdnn")
    options = {"snr": 30.0} if model.general else {}
    found = ivimsc.fit_signals(signals, B, model.method if known else "mlp", model=str(path), device="cpu", threads=1, **options)  # fmt: skip
    assert set(found.outcome) <= set(range(9))
    return [values for _, values in found.items()]


def rewrite_model(good: Path, target: Path, random: np.random.Generator) -> str:
    """A model with another array, or other metadata, and with no checksum or a right one."""
    from ivimsc.models.reading import checksum, read_arrays

    arrays, metadata, _ = read_arrays(good)
    about, how = json.loads(metadata["ivimsc"]), "metadata"
    if random.random() < 0.5:
        name = sorted(arrays)[int(random.integers(len(arrays)))]
        old, how = arrays[name], f"array {name}"
        news = [old[:0], old[:1], old[..., :-1], np.concatenate([old, old]), np.concatenate([old, old], -1), old[None], old.reshape(-1),
                old.astype(np.float64), old * np.float32(np.nan), old * np.float32(1e38), np.zeros((3, 0), np.float32), old.T, -old,
                old.astype(np.int32), np.float32(1), old[..., :4], old * 0]  # fmt: skip
        choice = int(random.integers(len(news) + 2))
        if choice == len(news):
            del arrays[name]
        elif choice == len(news) + 1:
            arrays["weight7" if random.random() < 0.5 else "b"] = old
        else:
            arrays[name] = np.ascontiguousarray(news[choice])
    else:
        about = changed_json(about, random)
    text = json.dumps(about)
    own = {"ivimsc": text} | ({"ivimsc_sha256": checksum(text, arrays)} if random.random() < 0.5 else {})
    target.write_bytes(save(arrays, own))
    return how


def _image() -> nib.Nifti1Image:
    data = np.random.default_rng(0).integers(1, 1000, (4, 3, 2, len(B))).astype(np.int16)
    return nib.Nifti1Image(data, np.diag([2, 2, 3, 1.0]))


def make_nifti(folder: Path) -> list[Path]:
    folder.mkdir()
    nib.save(_image(), folder / "plain.nii")
    nib.save(nib.Nifti2Image(_image().get_fdata().astype(np.float32), np.eye(4)), folder / "two.nii")
    (folder / "packed.nii.gz").write_bytes(gzip.compress((folder / "plain.nii").read_bytes(), mtime=0))
    nib.save(nib.Nifti1Pair(_image().get_fdata().astype(np.float32), np.eye(4)), folder / "pair.img")
    for stem in ("plain", "two", "packed", "pair"):
        (folder / f"{stem}.bval").write_text(" ".join(map(str, B)) + "\n")
    return [folder / name for name in ("plain.nii", "two.nii", "packed.nii.gz", "pair.hdr")]


def judge_nifti(path: Path) -> Any:
    """Read the series, and write it as voxels and as a volume."""
    from ivimsc.nifti import read_series, write_volume

    voxels = read_series(path, path.with_name(path.name.split(".")[0] + ".bval"))
    write_volume(path.with_name("back.nii.gz"), np.zeros(voxels.geometry.shape, np.float32), voxels.geometry)
    back = nib.load(path.with_name("back.nii.gz")).affine
    os.unlink(path.with_name("back.nii.gz"))
    assert np.isfinite(back).all()
    return [voxels.signals, voxels.bvalues, voxels.index, voxels.geometry.affine]


def rewrite_nifti(good: Path, target: Path, random: np.random.Generator) -> str:
    """A header with other numbers, gzipped anew where it was."""
    data = bytearray(good.read_bytes())
    packed = data[:2] == b"\x1f\x8b"
    data = bytearray(gzip.decompress(data)) if packed else data
    for _ in range(int(random.integers(1, 4))):
        at, n = int(random.integers(40, 348)) // 2 * 2, int(random.choice([1, 2, 4, 8]))
        value = int(random.choice([0, 1, 7, 255, 32767, 65535, 2**31 - 1, 2**31])) % 256**n
        new = int(value).to_bytes(n, "little")
        if n == 4 and random.random() < 0.6:
            new = np.float32(random.choice([np.nan, np.inf, -np.inf, 0, -1, 1e38, 1e-40, 2.5e9, 100, 351])).tobytes()
        data[at : at + n] = new
    target.write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return "header"


def _text(name: str, text: str) -> Callable[[Path], list[Path]]:
    def make(folder: Path) -> list[Path]:
        folder.mkdir()
        (folder / name).write_text(text)
        return [folder / name]

    return make


def judge_bval(path: Path) -> Any:
    from ivimsc.physics.bvalue_text import read_bval

    found = read_bval(path)
    assert np.isfinite(found).all() and (found >= 0).all() and path.read_bytes().isascii() | (b"#" in path.read_bytes()) | path.read_bytes().startswith(b"\xef\xbb\xbf")  # fmt: skip
    return found


def judge_bvec(path: Path) -> Any:
    from ivimsc.nifti.series import _check_bvec

    return _check_bvec(path, 5)


def judge_volumes(path: Path) -> Any:
    from ivimsc.nifti.volumes import chosen_volumes

    found = chosen_volumes(path, 1000)
    assert ((found >= 0) & (found < 1000)).all()
    return found


def judge_curves(path: Path) -> Any:
    from ivimsc.curves import read_curves

    found = read_curves(path)
    return [found.names, found.bvalues, found.signals]


KINDS = {
    "voxels": Kind(make_voxels, judge_voxels, rewrite_store, exact=True),
    "estimates": Kind(make_estimates, judge_estimates, rewrite_store, exact=True),
    "dictionary": Kind(make_dictionary, judge_dictionary, rewrite_store, exact=True),
    "model": Kind(make_models, judge_model, rewrite_model, exact=True, text=True, head=4000),
    "nifti": Kind(make_nifti, judge_nifti, rewrite_nifti, head=352),
    "bval": Kind(_text("a.bval", "0 10 20 50 # a remark\n100, 200; [400] 8e2\n"), judge_bval, text=True),
    "bvec": Kind(_text("a.bvec", "0 1 0 0 1\n0 0 1 0 0\n0 0 0 1 0\n"), judge_bvec, text=True),
    "volumes": Kind(_text("a.txt", "0-99, 150\n200 # one\n300-305\n"), judge_volumes, text=True),
    "curves": Kind(
        _text("a.csv", "name,0,50,100,800\nliver,1.0,0.8,0.7,0.3\nkidney,2,1.5,1.2,nan\n"), judge_curves, text=True
    ),
}
