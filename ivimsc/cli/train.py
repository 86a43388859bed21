"""``ivimsc train``."""

import sys
import warnings
from pathlib import Path

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("train")(train)


def train(
    name: str = typer.Argument(..., metavar="NAME", help="scdnn, mlp or ivimnet."),
    stores: list[Path] = typer.Argument(None, metavar="STORE.h5…", help="Voxel stores to learn from."),
    out: Path = typer.Option(..., metavar="MODEL.safetensors", help="Model file to write."),
    bvalues: str = typer.Option(None, metavar="20,50,…", help="Learn from this subset of the b-values."),
    epochs: int = typer.Option(None, help="Passes over the training voxels, at most (default: the network's)."),
    seed: int = typer.Option(0, help="Keys split, order, noise and start."),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    threads: int = typer.Option(None, help="CPU threads (default: all cores)."),
    resume: bool = typer.Option(False, "--resume", help="Go on with an interrupted training."),
    force: bool = typer.Option(False, "--force", help="Overwrite an earlier model."),
    tensorboard: Path = typer.Option(None, metavar="DIR", help="Write losses for TensorBoard here."),
    settings: list[str] = typer.Option([], "--set", metavar="KEY=VALUE", help="Option of network, schedule or data."),
) -> int:
    """Train a network on voxel stores and write its model file."""
    from ivimsc.cli.show import settings_of
    from ivimsc.physics.bvalue_text import parse_bvalues
    from ivimsc.train import TrainJob, train_file

    wanted = None if bvalues is None else parse_bvalues(bvalues)
    job = TrainJob(
        name,
        stores or [],
        out,
        wanted,
        epochs,
        seed,
        device,
        threads,
        resume,
        force,
        settings_of(settings),
        tensorboard,
    )
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"ivimsc: warning: {message}", file=sys.stderr, flush=True)
            done = train_file(job, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        print(
            "ivimsc: interrupted; the finished epochs are kept: the same command with --resume goes on", file=sys.stderr
        )
        raise typer.Exit(130) from None
    print(f"{len(done.history['train'])} epochs in {done.seconds:.1f} s")
    print(f"model: {done.path}")
    return 0
