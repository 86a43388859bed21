"""The runs behind the tables: stores, trainings, fits and bounds, each done once and kept under its key.

A run that is there is not done again: after a kill, only what is missing is. The keys hold all that a run depends on,
scale included; delete a run's folder to have it done again. Times are of the CPU, which other programs on the machine
disturb little.
"""

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ivimsc.compare.bound import smallest_error
from ivimsc.device.launch import choose_device
from ivimsc.errors import InputError
from ivimsc.files import make_folder, written_whole
from ivimsc.fit import FitJob, fit_file, fit_signals
from ivimsc.models import read_model
from ivimsc.paper.scores import Bounds
from ivimsc.paper.setting import FEWEST_STEPS, KEYS, SCALES, SEEDS, SNR, Net, Setting
from ivimsc.phantoms.cohort import COHORTS
from ivimsc.physics.protocol import select_bvalues
from ivimsc.simulate import write_phantom
from ivimsc.store import EstimateStore, VoxelStore

__all__ = ["Fitted", "Runs", "Trained"]

CHUNKS = 16  # draws of 4096 tested voxels for a bound at full scale
PRIOR = 65536  # draws of the training truth
WARM = 512  # voxels fitted before the clock starts: kernels are compiled or loaded

BValues = tuple[float, ...]


class Trained(NamedTuple):
    """A trained network: model file, training time [s of CPU], losses per epoch (train, validation)."""

    path: Path
    seconds: float
    history: dict[str, list[float]]


class Fitted(NamedTuple):
    """A fit: f, D, D* (voxel, 3) [1, µm²/ms], and voxels per second of CPU."""

    values: NDArray[np.float64]
    speed: float


class Runs:
    """All runs of one setting, under ``runs/`` and ``stores/`` of its folder."""

    def __init__(self, setting: Setting, say: Callable[[str], None] = print) -> None:
        self.setting, self.say = setting, say
        self._truths: dict[str, NDArray[np.float64]] = {}
        self._warm: set[str] = set()

    def store(self, cohort: str, clean: bool = False) -> Path:
        """A cohort simulated at the paper's ten b-values.

        Parameters
        ----------
        cohort : its name
        clean : without noise

        Returns
        -------
        path of the voxel store
        """
        path = self.setting.folder / "stores" / f"{cohort}{'_clean' if clean else ''}_scale{self.setting.scale:g}.h5"
        if not path.exists():
            make_folder(path.parent)
            shape = self.setting.shape(len(COHORTS[cohort].scans))
            noise = "none" if clean else "rician"
            n = write_phantom(path, cohort, None, SNR[cohort], SEEDS[cohort], noise, shape=shape)
            self.say(f"simulated {cohort}: {n:,} voxels, {'no noise' if clean else f'SNR {SNR[cohort]:g}'}")
        return path

    def truth(self, cohort: str) -> NDArray[np.float64]:
        """True f, D, D* (voxel, 3) [1, µm²/ms] of the cohort of that name."""
        if cohort not in self._truths:
            with VoxelStore(self.store(cohort)) as store:
                self._truths[cohort] = _columns(store.truth)
        return self._truths[cohort]

    def train(self, net: Net, bvalues: BValues, seed: int, fraction: float = 1.0, **options: Any) -> Trained:
        """Train a network on the training scans.

        Parameters
        ----------
        net : the network
        bvalues : used ones [s/mm²]
        seed : of the training
        fraction : share of the training voxels
        options : beyond those of `net`
        """
        from ivimsc.train import TrainJob, train_file

        settings = {**net.options, **options, **self.setting.schedule()}
        settings |= {} if fraction == 1 else {"fraction": fraction}
        folder = self._folder("train", net.method, bvalues, settings, seed=seed)
        model, done = folder / "model.safetensors", folder / "run.json"
        if not done.exists():
            self.say(f"training {net.title}{_about(bvalues, settings)}, seed {seed}")
            store = self.store("cohort-train")
            job = TrainJob(name=net.method, stores=[store], out=model, bvalues=np.array(bvalues), seed=seed, device="cpu",
                           threads=self.setting.threads, resume=True, force=True, settings=settings)  # fmt: skip
            begin, epochs = time.process_time(), []
            try:
                summary = train_file(job, lambda epoch, _: epochs.append(epoch))
            except InputError:
                if not list(folder.glob(".*.checkpoint")):
                    raise
                self.say("  the checkpoint is damaged or of another training: from the beginning")
                summary = train_file(replace(job, resume=False), lambda epoch, _: epochs.append(epoch))
            all_epochs = len(summary.history["train"])  # those before a stop count as long as those after it
            seconds = (time.process_time() - begin) * all_epochs / max(len(epochs), 1)
            losses = {key: [float(v) for v in summary.history[key]] for key in ("train", "validation")}
            _write_json(done, {"seconds": seconds, "history": losses})
            self.say(f"  {seconds:.0f} s of CPU, validation loss {min(losses['validation']):.4g}")
        with _readable(done):
            kept = json.loads(done.read_text(encoding="utf-8"))
            losses = {key: [float(v) for v in kept["history"][key]] for key in ("train", "validation")}
            return Trained(model, float(kept["seconds"]), losses)

    def adapt(self, cohort: str, bvalues: BValues, seed: int) -> Trained:
        """SCDNN that learned the population of a cohort from its noisy signals, without truth; S0 = 1 is known.

        Parameters
        ----------
        cohort, bvalues, seed : its name; used b-values [s/mm²]; of all draws
        """
        from ivimsc.train import TrainJob, train_file

        settings = {"population": "data", "s0": 1.0} | ({} if self.setting.full else {"sights": 5 * FEWEST_STEPS})
        folder = self._folder("adapt", "scdnn", bvalues, settings, seed=seed, cohort=cohort)
        model, done = folder / "model.safetensors", folder / "run.json"
        if not done.exists():
            self.say(f"adapting SCDNN to {cohort}{_about(bvalues, settings)}, seed {seed}")
            begin = time.process_time()
            train_file(TrainJob("scdnn", [self.store(cohort)], model, np.array(bvalues), seed=seed, device="cpu",
                                threads=self.setting.threads, force=True, settings=settings))  # fmt: skip
            _write_json(done, {"seconds": time.process_time() - begin})
        with _readable(done):
            return Trained(model, float(json.loads(done.read_text(encoding="utf-8"))["seconds"]), {})

    def fit(self, cohort: str, clean: bool, method: str, bvalues: BValues, settings: Mapping[str, Any] | None = None,
            model: Trained | None = None) -> Fitted:  # fmt: skip
        """Fit a cohort by a method, or by a trained network.

        Parameters
        ----------
        cohort : its name
        clean : its signals without noise
        method : name of the method
        bvalues : used ones [s/mm²]
        settings : options of the method
        model : the trained network
        """
        settings = dict(settings or {}) | ({} if model is None else {"model": str(model.path), "s0": "1"})
        about = dict(settings)
        if "model" in settings:  # its weights, not where it lies or how long it took
            about["model"] = _weights_sha256(Path(settings["model"]))
        folder = self._folder("fit", method, bvalues, about,
                              cohort=cohort + ("_clean" if clean else ""))  # fmt: skip
        store = self.store(cohort, clean)
        path = folder / f"{store.stem}_{method}.h5"
        if not (folder / "run.json").exists():
            self._warm_up(store, method, bvalues, settings)
            job = FitJob(store, method, folder, bvalues=np.array(bvalues), device="cpu", threads=self.setting.threads,
                         resume=True, maps=False, settings=settings, cluster=self.setting.cluster)  # fmt: skip
            begin = time.process_time()
            done = fit_file(job)
            speed = done.voxels / max(time.process_time() - begin + done.cpu_elsewhere, 1e-9)
            _write_json(folder / "run.json", {"speed": speed})
            self.say(f"fitted {cohort}{' without noise' if clean else ''} by {method}{_about(bvalues, settings)}: {speed:,.0f} voxels per s of CPU")  # fmt: skip
        with EstimateStore(path) as estimates:
            values = _columns({key: estimates[key] for key in KEYS if key in estimates.keys})
        with _readable(folder / "run.json"):
            return Fitted(values, float(json.loads((folder / "run.json").read_text(encoding="utf-8"))["speed"]))

    def bounds(self, cohort: str, clean: bool, bvalues: BValues, chunks: int = CHUNKS) -> Bounds:
        """The smallest possible errors, and those of the best that the training scans could teach.

        Parameters
        ----------
        cohort : its name
        clean : its signals without noise
        bvalues : used ones [s/mm²]
        chunks : draws of 4096 tested voxels, at full scale
        """
        chunks = chunks if self.setting.full else 2
        path = self._folder("bound", cohort, bvalues, {"chunks": chunks}) / "bound.npz"
        if not path.exists():
            self.say(f"smallest possible errors of {cohort}, b = {_listed(bvalues)}: {chunks} × up to 4096 voxels")
            arrays = self._compute_bounds(cohort, bvalues, chunks)
            with written_whole(path, force=True) as temporary, temporary.open("wb") as file:
                np.savez(file, **arrays)
        with _readable(path), np.load(path, allow_pickle=False) as kept:
            which = "clean" if clean else "noisy"
            found = Bounds(kept["tested"], kept[which], kept[f"trained_{which}"], float(kept["ess"]))
            if not len(found.tested) == len(found.products) == len(found.trained):
                raise ValueError("arrays of different lengths")
            return found

    def _compute_bounds(self, cohort: str, bvalues: BValues, chunks: int) -> dict[str, Any]:
        launch, sigma = choose_device("cpu", self.setting.threads), 1 / SNR[cohort]
        launch.cluster = self.setting.cluster
        with VoxelStore(self.store(cohort)) as store:
            columns = select_bvalues(store.bvalues, np.array(bvalues))
            signals, truth = store.read(0, len(store))[:, columns], store.truth
        with VoxelStore(self.store(cohort, clean=True)) as store:
            clean = store.read(0, len(store))[:, columns]
        b = np.array(bvalues)
        found = [smallest_error(signals, truth, b, sigma, True, True, launch, seed) for seed in range(chunks)]
        square = np.square([SCALES[key] for key in KEYS])
        tested = np.concatenate([bound.tested for bound in found])
        arrays = {"tested": tested, "ess": min(bound.ess for bound in found)}
        places, back = np.unique(tested, return_inverse=True)  # chunks may share voxels
        options = {"prior": str(self.store("cohort-train")), "s0": 1.0, "likelihood": "rician"}
        options["sigma"] = 1 / SNR["cohort-train"]
        options["draws"] = min(PRIOR, len(self.truth("cohort-train")))
        for name, rows in (("noisy", signals), ("clean", clean)):
            field = "noise_free" if name == "clean" else "noisy"
            arrays[name] = np.concatenate([getattr(bound, field) for bound in found]) * square
            fit = fit_signals(rows[places], b, "bayes", "cpu", self.setting.threads, **options)
            best = np.stack([fit.f, fit.D * 1e3, fit.Dstar * 1e3], axis=1).astype(np.float64)
            arrays[f"trained_{name}"] = ((best - self.truth(cohort)[places]) ** 2)[back]
        return arrays

    def _warm_up(self, store: Path, method: str, bvalues: BValues, settings: Mapping[str, Any]) -> None:
        """Fit a few voxels once per method and number of b-values, so that no compile time is in the speed."""
        key = f"{method} {len(bvalues)} {settings.get('solver')}"
        if key not in self._warm:
            with VoxelStore(store) as voxels:
                columns = select_bvalues(voxels.bvalues, np.array(bvalues))
                rows = voxels.read(0, WARM)[:, columns]
            fit_signals(rows, np.array(bvalues), method, "cpu", self.setting.threads, **settings)
            self._warm.add(key)

    def _folder(self, kind: str, name: str, bvalues: BValues, settings: Mapping[str, Any], **more: Any) -> Path:
        """The folder of a run: a readable name, and a checksum of all that the run depends on."""
        about = {"kind": kind, "name": name, "bvalues": list(bvalues), "settings": dict(settings), **more}
        about["scale"] = self.setting.scale
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]
        extra = "".join(f"_{v}" if isinstance(v, str) else f"_{k}{v}" for k, v in more.items())
        folder = self.setting.folder / "runs" / f"{kind}_{name}{extra}_{len(bvalues)}b_{digest}"
        make_folder(folder)
        return folder


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell in one line that the record of a finished run cannot be read; use as a context manager."""
    try:
        yield
    except InputError:
        raise
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path}: found a damaged record of a run ({type(error).__name__}), expected a whole one: without the file the run is done again") from None  # fmt: skip


def _columns(fields: Mapping[str, NDArray]) -> NDArray[np.float64]:
    """f, D, D* (voxel, 3) [1, µm²/ms]; NaN where there is none."""
    columns = np.full((len(next(iter(fields.values()))), len(KEYS)), np.nan)
    for k, key in enumerate(KEYS):
        if key in fields:
            columns[:, k] = np.asarray(fields[key], np.float64) * SCALES[key]
    return columns


def _weights_sha256(path: Path) -> str:
    arrays = read_model(path).arrays
    return hashlib.sha256(b"".join(np.ascontiguousarray(arrays[name]).data for name in sorted(arrays))).hexdigest()


def _listed(bvalues: BValues) -> str:
    return ", ".join(f"{b:g}" for b in bvalues)


def _about(bvalues: BValues, settings: Mapping[str, Any]) -> str:
    """What sets a run apart, in words."""
    words = [f"{k} {v}" for k, v in settings.items() if k not in ("model", "epoch_voxels")]
    return f" ({', '.join([*words, 'b ' + '-'.join(f'{b:g}' for b in bvalues)])})"


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with written_whole(path, force=True) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
