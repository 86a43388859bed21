"""What commands print: progress (a bar on a terminal, plain lines elsewhere) and the parts of several commands."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

__all__ = ["outcome_lines", "progress", "settings_of", "show_table", "tuple_of"]


@contextmanager
def progress(label: str, unit: str = "voxels") -> Iterator[Callable[[int, int], None]]:
    """Show how far the work is, on stderr, so that stdout holds results alone; use as a context manager.

    Parameters
    ----------
    label : what is done
    unit : what is counted

    Yields
    ------
    a function to call with (done, in all): it moves a bar on a terminal, and prints a line per tenth elsewhere
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        from ivimsc.cli.streams import steered

        columns = (
            TextColumn(label, markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(file=steered(sys.stderr)), transient=True) as bar:
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
    """How the voxels ended, in lines.

    Parameters
    ----------
    outcomes : outcome -> number of voxels

    Returns
    -------
    a line for each outcome: share, code and sentence
    """
    total = max(sum(outcomes.values()), 1)
    return [f"{100 * n / total:6.2f} %  outcome {int(o)}: {o.sentence}" for o, n in sorted(outcomes.items())]


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> None:
    """Print a table, as wide as the terminal; 140 characters elsewhere.

    Parameters
    ----------
    title : above it
    columns : their names
    rows : a value for each column; numbers are shown with four digits, NaN is empty
    left : how many of the first columns hold words
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ivimsc.cli.streams import steered
    from ivimsc.text import one_line

    console = Console(file=steered(sys.stdout))
    if not console.is_terminal:
        console.width = 140  # a log file has no width to fit into
    table = Table(title=Text(one_line(title)), title_justify="left", box=None)
    for k, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if k < left else "right")
    for row in rows:
        table.add_row(*(Text(one_line(_cell(value))) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


def settings_of(pairs: list[str]) -> dict[str, str]:
    """The options given as ``--set KEY=VALUE``.

    Parameters
    ----------
    pairs : ``KEY=VALUE`` each

    Returns
    -------
    value, as text, by key

    Raises
    ------
    InputError
        for a pair without a key or without ``=``
    """
    from ivimsc.errors import InputError

    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InputError(f"--set: found {pair!r}, expected KEY=VALUE")
        settings[key.strip()] = value.strip()
    return settings


def tuple_of(text: str | None, kind: type, count: int, option: str) -> tuple | None:
    """The numbers of an option such as ``--shape 64,64,5``.

    Parameters
    ----------
    text : of the option; None where it is not given
    kind : of the numbers, int or float
    count : how many
    option : its name, for errors

    Returns
    -------
    the numbers, or None where the option is not given

    Raises
    ------
    InputError
        for anything but `count` numbers
    """
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
