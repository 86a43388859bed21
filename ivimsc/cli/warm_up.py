"""``ivimsc warm-up``."""

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("warm-up")(warm_up)


def warm_up() -> None:
    """Compile all kernels ahead: for images, and for installations that are read-only later."""
    from ivimsc.compiling.cache import cache_note
    from ivimsc.warm_up import warm_up as run

    done = run(lambda line: print(line, flush=True))
    print(f"compiled for {done.seconds:.1f} s" if done.seconds else "all kernels were there already")
    print(cache_note() or f"kept in {done.folder}")
