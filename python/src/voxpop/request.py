"""What 'voxpop fit' and 'voxpop evaluate' have in common: their options as libvoxpop takes them, and their findings."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from voxpop.errors import VotesWarning
from voxpop.read import Votes

#: Options that the library takes, and of which type; the names and values that it has for them.
MODEL_OPTIONS = {"ties": str, "repeats": str, "views": str, "max_iterations": int, "seed": int, "calibrate": bool}
_WITHOUT = {"no_side_bias": "side_bias", "no_adversaries": "adversaries"}
_LISTS = ("ignore", "models")
_WHERE = {"threads": int, "device": str, "memory_limit": int}


def request_of(options: Mapping[str, Any], types: Mapping[str, type]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The members of the library's request and of its context; None where an option, or its value, is for the program.
    `types`: of the options that the request has, by name."""
    request: dict[str, Any] = {}
    where: dict[str, Any] = {}
    for name, value in options.items():
        if value is None or value is False:
            continue
        if isinstance(value, (np.integer, np.bool_)):
            value = value.item()
        wanted = types.get(name) or _WHERE.get(name)
        if name in _WITHOUT and value is True:
            request[_WITHOUT[name]] = False
        elif name in _LISTS and isinstance(value, (str, list, tuple)):
            request[name] = value.split(",") if isinstance(value, str) else list(value)
        elif wanted is not None and type(value) is wanted and not (isinstance(value, int) and value < 0):
            (request if name in types else where)[name] = value
        else:
            return None
    return request, where


def columns_of(votes: Votes, progress: bool) -> dict[str, Any]:
    """The columns of votes in memory, as of files: nobody is named where the only annotator is 'anonymous'."""
    columns = dict(votes.columns or {})
    if list(columns.get("annotators/id", ["anonymous"])) == ["anonymous"]:
        columns.pop("annotators/id", None)
        columns.pop("comparisons/annotator", None)
        if progress:
            sys.stderr.write("note: the votes have no annotators: they count as votes of one anonymous annotator\n")
    return columns


def warn_of(provenance: Mapping[str, Any]) -> None:
    """What was found about the votes and the fit, as warnings of the caller's caller."""
    told = set()
    for finding in provenance.get("findings", []):
        told.add(finding["text"])
        if finding["level"] != "note":
            warnings.warn(f"{finding['text']} {finding['remedy']}".strip(), VotesWarning, stacklevel=3)
    for text in provenance.get("warnings", []):
        if text not in told:
            warnings.warn(text, VotesWarning, stacklevel=3)
