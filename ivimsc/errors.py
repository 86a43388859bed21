"""The errors that a user sees: one line that says what was found, what was expected, and in which file."""


class IvimscError(Exception):
    """A failure that is told in one line, without a traceback (exit code 1)."""


class InputError(IvimscError, ValueError):
    """Bad usage or bad input: what was found, what was expected, in which file (exit code 2)."""


class DeviceError(InputError):
    """A device was asked for by name and cannot be used here (exit code 2)."""
