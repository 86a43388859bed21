"""The command line: parse, call one function, print. One file per group of commands.

Exit codes: 0 done; 1 some other failure; 2 bad usage or bad input (one line, no traceback); 3 done, but over half of
the voxels have a bad signal; 130 interrupted. Heavy imports happen inside the commands, so that ``--help`` is quick.
"""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.main import get_command

from ivimsc import __version__
from ivimsc.cli import (
    bids,
    compare,
    demo,
    design,
    dictionary,
    fit,
    info,
    join,
    paper,
    register,
    repeat,
    report,
    roi,
    simulate,
    stores,
    train,
    warm_up,
)
from ivimsc.cli.housing import house_matplotlib
from ivimsc.cli.stopping import stoppable
from ivimsc.cli.streams import patient_streams
from ivimsc.cli.words import error_in_options
from ivimsc.errors import InputError, IvimscError

__all__ = ["app", "main"]

UsageError, ClickException = typer.BadParameter.__mro__[1:3]  # typer carries its own copy of click, or uses click

app = typer.Typer(
    name="ivimsc",
    help="Fit the IVIM model to diffusion MRI: S0, f, D and D* maps of whole volumes in seconds.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (
    fit,
    simulate,
    stores,
    join,
    roi,
    register,
    compare,
    report,
    bids,
    repeat,
    demo,
    train,
    dictionary,
    design,
    paper,
    info,
    warm_up,
):
    group.register(app)


@app.callback(invoke_without_command=True)
def _version(version: bool = typer.Option(False, "--version", help="Print the version and stop.")) -> None:
    if version:
        print(f"ivimsc {__version__}")
        raise typer.Exit(0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    argv : its words, without the name of the program; default: those of this process

    Returns
    -------
    the exit code, see the module
    """
    words = list(sys.argv[1:] if argv is None else argv)
    house_matplotlib()
    with patient_streams() as failed, stoppable():
        code = _run(words)
        _tell_cache(words)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        return _tell("; ".join(failed), 1) if failed and code == 0 else code


def _run(words: list[str]) -> int:
    """The exit code of a command line; whatever goes wrong is told."""
    try:
        code = app(args=words or ["--help"], prog_name="ivimsc", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except InputError as error:
        return _tell(error_in_options(str(error), _parameters(words), words), 2)
    except UsageError as error:
        return _tell(_usage(error), 2)
    except (ClickException, IvimscError) as error:
        return _tell(str(error), 1)
    except OSError as error:
        return _tell(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except MemoryError as error:
        return _tell(f"not enough memory: {error}", 1)
    except KeyboardInterrupt:
        return _tell("interrupted", 130)


def _parameters(words: Sequence[str]) -> Sequence[Any]:
    """The parameters of the command that these words call."""
    commands = get_command(app).commands
    return next((commands[word].params for word in words if word in commands), ())


def _usage(error: Exception) -> str:
    """One line for a usage error: what was found and, for unknown names, which there are."""
    message = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    if context is None:
        return message
    if "command" in message.lower():
        return f"{message.split('. ')[0]}, expected one of {', '.join(context.command.list_commands(context))}"
    if hasattr(error, "option_name"):
        shown = [parameter for parameter in context.command.params if not getattr(parameter, "hidden", False)]
        known = [name for parameter in shown for name in parameter.opts if name.startswith("--")]
        return f"{context.info_name}: found option {error.option_name}, expected one of {', '.join(known)}"
    return f"{context.info_name}: {message}; `{context.command_path} --help` tells more"


def _tell_cache(words: Sequence[str]) -> None:
    """A note where the kernels that this command compiled cannot be kept as usual."""
    cache = sys.modules.get("ivimsc.compiling.cache")
    if cache and "info" not in words and cache.kept_here() and (note := cache.cache_note()):
        print(f"ivimsc: note: {note}", file=sys.stderr)


def _tell(message: str, code: int) -> int:
    print("ivimsc: error: " + " ".join(message.split()), file=sys.stderr)
    return code
