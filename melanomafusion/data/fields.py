"""Metadata of one record as a person gives them, in the words of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..errors import MetadataError
from .schema import MAX_AGE, SEXES, SITE_SYNONYMS, SITES
from .table import MISSING_WORDS

FIELDS = ("sex", "age_approx", "anatom_site_general_challenge")
_SEX_SYNONYMS = {"f": "female", "m": "male"}


def read_fields(given: Mapping[str, Any], *, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Check and spell sex, age and site of a record.

    Args:
        given: field → text or number; None, NaN, "" and "unknown" are missing, as is a field that is left out.
        names: field → what messages call it, where it is not its own name.

    Returns:
        Every one of `FIELDS`: text, a float for the age, None where missing.

    Raises:
        MetadataError: every field that is unknown or has a value that cannot be meant.
    """
    called = {field: field for field in given} | dict(names or {})
    problems = [
        f"{called[field]}: no such field. Known: {', '.join(called.get(name, name) for name in FIELDS)}"
        for field in given
        if field not in FIELDS
    ]
    found: dict[str, Any] = dict.fromkeys(FIELDS)
    for field in FIELDS:
        value = _plain(given.get(field))
        if value is None:
            continue
        spelt, expected = _age(value) if field == "age_approx" else _word(field, value)
        if spelt is None:
            problems.append(f"{called[field]} {given[field]!r}; expected {expected}, or nothing where it is not known")
        found[field] = spelt
    if problems:
        raise MetadataError("\n".join(problems))
    return found


def _plain(value: Any) -> str | None:
    """Stripped lower-case text; None where missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).strip().lower()
    return None if text in (*MISSING_WORDS, "unknown") else text


def _age(text: str) -> tuple[float | None, str]:
    try:
        years = math.nan if "_" in text else float(text)
    except ValueError:
        years = math.nan
    return years if 0 <= years <= MAX_AGE else None, f"a number of years from 0 to {MAX_AGE}"


def _word(field: str, text: str) -> tuple[str | None, str]:
    values, synonyms = (SEXES, _SEX_SYNONYMS) if field == "sex" else (SITES, SITE_SYNONYMS)
    word = synonyms.get(text, text)
    return word if word in values else None, f"one of {', '.join(values)}"
