"""What commands print: progress (a bar on a terminal, plain lines elsewhere) and the parts of several commands."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["outcome_lines", "progress", "settings_of", "tuple_of"]


@contextmanager
def progress(label: str, unit: str = "voxels") -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that shows how far the work is; on stderr, so that stdout holds results alone."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
    else:
        said = -1

        def line(done: int, total: int) -> None:
            nonlocal said
            tenth = 10 * done // max(total, 1)
            if tenth > said:
                said = tenth
                print(f"{label}: {done:,} of {total:,} {unit}", file=sys.stderr, flush=True)

        yield line


def outcome_lines(outcomes: dict) -> list[str]:
    """One line per outcome that occurred: share, code and sentence."""
    total = max(sum(outcomes.values()), 1)
    return [f"{100 * n / total:6.2f} %  outcome {int(o)}: {o.sentence}" for o, n in sorted(outcomes.items())]


def settings_of(pairs: list[str]) -> dict[str, str]:
    """The options given as ``--set KEY=VALUE``."""
    from ivimsc.errors import InputError

    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set: found {pair!r}, expected KEY=VALUE")
        settings[key.strip()] = value.strip()
    return settings


def tuple_of(text: str | None, kind: type, count: int, option: str) -> tuple | None:
    """``"64,64,5"`` as a tuple of `count` numbers."""
    from ivimsc.errors import InputError

    if text is None:
        return None
    try:
        values = tuple(kind(word) for word in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count:
        raise InputError(f"{option}: found {text!r}, expected {count} numbers apart by commas")
    return values
