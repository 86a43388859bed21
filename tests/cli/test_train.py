"""``ivimsc train``: what is asked for reaches the training."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ivimsc import train


def test_every_option_reaches_the_job(ivimsc, monkeypatch):
    jobs = []

    def train_file(job, say):
        jobs.append(job)
        say("epoch 1 of 1")
        return SimpleNamespace(history={"train": [0.1, 0.2]}, seconds=1.25, path=job.out)

    monkeypatch.setattr(train, "train_file", train_file)
    words = ["--bvalues", "20,50", "--epochs", 7, "--seed", 3, "--device", "cpu", "--threads", 1, "--resume", "--force"]
    more = ["--tensorboard", "logs", "--set", "rate=0.01", "--set", "atoms=9"]
    assert ivimsc("train", "mlp", "a.h5", "b.h5", "--out", "m.safetensors", *words, *more) == 0
    (job,) = jobs
    assert (job.name, job.stores, job.out) == ("mlp", [Path("a.h5"), Path("b.h5")], Path("m.safetensors"))
    np.testing.assert_array_equal(job.bvalues, [20, 50])
    assert (job.epochs, job.seed, job.device, job.threads, job.resume, job.force) == (7, 3, "cpu", 1, True, True)
    assert (job.settings, job.tensorboard) == ({"rate": "0.01", "atoms": "9"}, Path("logs"))
    assert ivimsc.out.splitlines() == ["epoch 1 of 1", "2 epochs in 1.2 s", "model: m.safetensors"]


def test_an_interrupted_training_is_exit_130(ivimsc, monkeypatch):
    def train_file(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "train_file", train_file)
    assert ivimsc("train", "mlp", "a.h5", "--out", "m.safetensors") == 130
    assert "--resume" in ivimsc.err
