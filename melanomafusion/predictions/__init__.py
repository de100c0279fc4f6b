"""Scores joined by image name: the type, the files it is read from, and the join of members."""

from .align import align
from .members import read_members
from .predictions import KINDS, Kind, Predictions

__all__ = ["KINDS", "Kind", "Predictions", "align", "read_members"]
