"""The command line as a whole: help, version, usage errors, and one line and one code for each kind of failure."""

import pytest

import ivimsc as package
from ivimsc import cli
from ivimsc.errors import InputError, IvimscError


def test_help_names_every_command_and_version_is_the_package(ivimsc):
    for words in ((), ("--help",), ("-h",)):
        assert ivimsc(*words) == 0
        for name in ("demo", "fit", "info", "maps", "pack", "simulate"):
            assert f"\n  {name} " in ivimsc.out
    assert ivimsc("--version") == 0
    assert ivimsc.out == f"ivimsc {package.__version__}\n"


@pytest.mark.parametrize("words", [("--bad",), ("fit", "--bad"), ("fit",), ("demo", "extra"), ("fit", "x", "--out")])
def test_usage_errors_are_one_line(ivimsc, words):
    assert ivimsc(*words) == 2
    assert ivimsc.error
    assert ivimsc.out == ""


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("a.h5: found\n  nothing"), 2, "ivimsc: error: a.h5: found nothing"),
        (IvimscError("a.h5: No space left on device"), 1, "ivimsc: error: a.h5: No space left on device"),
        (OSError(5, "Input/output error", "a.h5"), 1, "ivimsc: error: a.h5: Input/output error"),
        (MemoryError("3 GiB"), 1, "ivimsc: error: not enough memory: 3 GiB"),
        (KeyboardInterrupt(), 130, "ivimsc: error: interrupted"),
    ],
)
def test_each_failure_has_its_exit_code_and_one_line(ivimsc, monkeypatch, error, code, says):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(type(cli.app), "__call__", fails)
    assert ivimsc("fit") == code
    assert ivimsc.err == says + "\n"
