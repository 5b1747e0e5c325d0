"""The program's exit codes as exceptions, with the program's own words."""


class VoxpopError(Exception):
    """Whatever goes wrong in voxpop; its text names the file, dataset or column, the row and the value."""

    exit_code = 1


class InternalError(VoxpopError, RuntimeError):
    """Exit code 1: out of memory or threads, or a fault of voxpop's own; the text says which."""


class UsageError(VoxpopError, ValueError):
    """Exit code 2: an option that does not exist, or a value that it does not take."""

    exit_code = 2


class BadInputError(VoxpopError, ValueError):
    """Exit code 3: votes, texts or a file that are not what they must be."""

    exit_code = 3


class FileError(VoxpopError, OSError):
    """Exit code 4: a file is missing, truncated, not writable, or the disk is full."""

    exit_code = 4


class NotConvergedError(VoxpopError, RuntimeError):
    """Exit code 5: the fit diverged; with `strict`: did not converge."""

    exit_code = 5


class DeviceError(VoxpopError, RuntimeError):
    """Exit code 6: the device asked for cannot be used."""

    exit_code = 6


class VotesWarning(UserWarning):
    """Something about votes, or a fit of them, that whoever trains on the labels should know."""


class ProgramNotFoundError(VoxpopError, FileNotFoundError):
    """There is no program `voxpop` to run."""


by_exit_code = {kind.exit_code: kind for kind in (UsageError, BadInputError, FileError, NotConvergedError, DeviceError)}
