"""The exception tree: everything a user can put right is a `MelanomaFusionError`.

Each message says what is wrong (value, row, column, file), what was expected and what to do.
The command line prints the message alone and exits with 1.
"""

from __future__ import annotations

from collections.abc import Sequence

SHOWN_PROBLEMS = 40


class MelanomaFusionError(Exception):
    """Base of all errors that the library raises on purpose."""


class TableError(MelanomaFusionError):
    """A table (CSV, Parquet) or its join with images is not what it must be.

    Attributes:
        problems: every problem found, one line each; the message shows the first 40.
    """

    def __init__(self, where: str, problems: Sequence[str], advice: str = "") -> None:
        self.where = where
        self.problems = list(problems)
        self.advice = advice
        count = len(self.problems)
        lines = [f"{where}: {count:,} problem{'s' if count != 1 else ''}"]
        lines += [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        if count > SHOWN_PROBLEMS:
            lines.append(f"  … and {count - SHOWN_PROBLEMS:,} more (all in `error.problems`)")
        if advice:
            lines.append(advice)
        super().__init__("\n".join(lines))


class ImageError(MelanomaFusionError):
    """An image file cannot be used; the message names the file and the reason."""


class FoldError(MelanomaFusionError):
    """Folds cannot be made, or do not fit the data."""


class MetadataError(MelanomaFusionError):
    """A metadata feature is unknown, or what it needs is not in the table."""


class RecipeError(MelanomaFusionError):
    """A recipe has an unknown key or a value that cannot work."""


class WeightsError(MelanomaFusionError):
    """Pretrained weights cannot be had or belong to another network."""


class PredictionsError(MelanomaFusionError):
    """Scores cannot be joined, or are of a kind that the call must not use."""


class PredictionsWarning(UserWarning):
    """Scores can be used, but perhaps not as meant."""


class BundleError(MelanomaFusionError):
    """A bundle is incomplete, altered or of a format this version does not know."""


class RunError(MelanomaFusionError):
    """A training run cannot start or go on."""


class CompatError(MelanomaFusionError, ValueError):
    """An argument of a 2020 function (`compat`) cannot work; a `ValueError`, as it was then."""


class OutputError(MelanomaFusionError):
    """A result cannot be written: read-only folder, full disk, a file in the way."""
