"""Pairwise votes of unequal annotators in, calibrated preference labels out.

>>> import voxpop
>>> fit = voxpop.fit(votes)            # a DataFrame with columns left, right, annotator, preference
>>> fit.pairs, fit.annotators          # DataFrames
>>> fit.report("report.html")
"""

from voxpop.errors import (
    BadInputError,
    DeviceError,
    FileError,
    InternalError,
    NotConvergedError,
    ProgramNotFoundError,
    UsageError,
    VotesWarning,
    VoxpopError,
)
from voxpop.estimator import Estimator
from voxpop.evaluate import Evaluation, evaluate
from voxpop.fit import Fit, fit, read_fit
from voxpop.read import Votes, check, detect, read
from voxpop.version import __version__
from voxpop.votes import from_datasets, write_comparisons

__all__ = [
    "BadInputError",
    "DeviceError",
    "Estimator",
    "Evaluation",
    "FileError",
    "Fit",
    "InternalError",
    "NotConvergedError",
    "ProgramNotFoundError",
    "UsageError",
    "Votes",
    "VotesWarning",
    "VoxpopError",
    "__version__",
    "check",
    "detect",
    "evaluate",
    "fit",
    "from_datasets",
    "read",
    "read_fit",
    "write_comparisons",
]
