"""A CSV as text, row by row, with the line each row begins on: what every reader of tables starts from."""

from __future__ import annotations

import csv
from pathlib import Path

from .errors import TableError


def read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header, rows of stripped values, and the line each row begins on (header = 1); blank lines are left out.

    Raises:
        TableError: the file cannot be read, is empty or not UTF-8 text, has another separator than the comma, a header
            stands twice (but for case or spaces), or rows differ in length; every such row is named.
    """
    rows: list[list[str]] = []
    lines: list[int] = []
    line = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(value.strip() for value in row):
                    rows.append([value.strip() for value in row])
                    lines.append(line)
                line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(str(path), [f"row {line}: cannot be read as CSV: {error}"], "Is a quote not closed?") from None
    except UnicodeDecodeError as error:
        raise TableError(str(path), [f"not UTF-8 text: {error}"], "Save the table as UTF-8 CSV.") from None
    except OSError as error:
        raise TableError(str(path), [f"cannot be read: {error.strerror}"]) from None
    if not rows:
        raise TableError(str(path), ["the file is empty"], "Expected a header line and rows.")
    header = rows[0]
    if len(header) == 1 and (separators := [mark for mark in ";\t|" if mark in header[0]]):
        raise TableError(
            str(path),
            [f"row {lines[0]}: one column, {header[0]!r}"],
            f"The columns seem to be separated by {separators[0]!r}. Save the table with commas.",
        )
    problems = [f"column {name!r} stands twice in the header" for name in _twice(header)]
    problems += [
        f"row {line}: {len(row)} values, the header has {len(header)}"
        for line, row in zip(lines, rows, strict=True)
        if len(row) != len(header)
    ]
    if problems:
        raise TableError(str(path), problems, "Mend the header or these rows (quotes, commas).")
    if len(rows) == 1:
        raise TableError(str(path), ["the table has a header but no rows"])
    return header, rows[1:], lines[1:]


def header_key(name: str) -> str:
    """A header without case and spaces."""
    return name.lower().replace(" ", "_")


def _twice(header: list[str]) -> list[str]:
    """Headers that are one name but for case or spaces."""
    seen = [header_key(name) for name in header]
    return [name for i, name in enumerate(header) if header_key(name) in seen[:i]]
