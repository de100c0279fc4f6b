"""The report as a PDF of one or more A4 pages, drawn with reportlab's canvas alone: no markup is read from any text."""

from __future__ import annotations

import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..deploy.predictor import Predictor
from ..notice import NOT_A_MEDICAL_DEVICE
from .answer import Answer
from .report import sections

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

_WIDTH, _HEIGHT = 595.28, 841.89  # A4 in points
_MARGIN, _NAMES = 54.0, 120.0
_PICTURE = 215.0
_LEADING = 14.0
_FOOT = 60.0
_EVIDENCE = "Where the evidence for the score lies (Grad-CAM)"
_NO_EVIDENCE = "No part of it speaks for a higher score"
_INK, _GREY = (0.1, 0.1, 0.12), (0.36, 0.38, 0.42)


def report_pdf(answer: Answer, predictor: Predictor) -> bytes:
    """Draw the report: date, result, picture and heat map, every class, inputs, system, and what it is not for.

    Args:
        answer: with its pictures.
        predictor: that gave it.
    """
    return _Report(answer, predictor).draw()


class _Report:
    """Writes from the top of a page down; a page that is full is followed by another."""

    def __init__(self, answer: Answer, predictor: Predictor) -> None:
        from reportlab.pdfgen.canvas import Canvas

        _register_fonts()
        self._answer, self._predictor = answer, predictor
        self._file = io.BytesIO()
        self._canvas: Canvas = Canvas(self._file, pagesize=(_WIDTH, _HEIGHT), pageCompression=1)
        self._canvas.setTitle("Report on one skin-lesion image")
        self._canvas.setAuthor("melanomafusion")
        self._canvas.setSubject(NOT_A_MEDICAL_DEVICE)
        self._page = 0
        self._y = 0.0

    def draw(self) -> bytes:
        self._begin_page()
        self._text("Report on one skin-lesion image", "bold", 18, leading=26)
        self._text(f"{self._answer.made:%d %B %Y, %H:%M} UTC", "plain", 10, colour=_GREY, leading=20)
        self._notice()
        first, *others = sections(self._answer, self._predictor)
        self._section(first.title, first.rows)
        self._pictures()
        for section in others:
            self._section(section.title, section.rows)
        self._canvas.showPage()
        self._canvas.save()
        return self._file.getvalue()

    def _begin_page(self) -> None:
        if self._page:
            self._canvas.showPage()
        self._page += 1
        self._y = _HEIGHT - _MARGIN
        self._canvas.setFont("plain", 8)
        self._canvas.setFillColorRGB(*_GREY)
        self._canvas.drawString(_MARGIN, 32, NOT_A_MEDICAL_DEVICE)
        self._canvas.drawRightString(_WIDTH - _MARGIN, 32, f"Page {self._page}")

    def _room(self, height: float) -> None:
        if self._y - height < _FOOT:
            self._begin_page()

    def _text(
        self, text: str, font: str, size: float, *, colour: tuple[float, float, float] = _INK, leading: float = _LEADING
    ) -> None:
        for line in _wrapped(text, font, size, _WIDTH - 2 * _MARGIN):
            self._room(leading)
            self._canvas.setFont(font, size)
            self._canvas.setFillColorRGB(*colour)
            self._canvas.drawString(_MARGIN, self._y - size, line)
            self._y -= leading

    def _notice(self) -> None:
        lines = _wrapped(NOT_A_MEDICAL_DEVICE, "bold", 10, _WIDTH - 2 * _MARGIN - 20)
        height = len(lines) * _LEADING + 12
        self._canvas.setFillColorRGB(0.98, 0.93, 0.85)
        self._canvas.rect(_MARGIN, self._y - height, _WIDTH - 2 * _MARGIN, height, stroke=0, fill=1)
        self._canvas.setFillColorRGB(*_INK)
        self._canvas.setFont("bold", 10)
        for number, line in enumerate(lines):
            self._canvas.drawString(_MARGIN + 10, self._y - 17 - number * _LEADING, line)
        self._y -= height + 8

    def _section(self, title: str, rows: list[tuple[str, str]]) -> None:
        wrapped = [
            (_wrapped(name, "plain", 10, _NAMES - 8), _wrapped(value, "plain", 10, _WIDTH - 2 * _MARGIN - _NAMES))
            for name, value in rows
        ]
        height = 28 + _LEADING * sum(max(len(labels), len(lines)) for labels, lines in wrapped)
        self._room(height if height < _HEIGHT / 2 else 3 * _LEADING + 12)  # a short section stays on one page
        self._y -= 10
        self._text(title, "bold", 12, leading=18)
        for labels, lines in wrapped:
            for number in range(max(len(lines), len(labels))):
                self._room(_LEADING)
                self._canvas.setFont("plain", 10)
                for x, colour, words in ((_MARGIN, _GREY, labels), (_MARGIN + _NAMES, _INK, lines)):
                    if number < len(words):
                        self._canvas.setFillColorRGB(*colour)
                        self._canvas.drawString(x, self._y - 10, words[number])
                self._y -= _LEADING

    def _pictures(self) -> None:
        if self._answer.picture is None or self._answer.overlay is None:
            return
        from reportlab.lib.utils import ImageReader

        self._room(_PICTURE + 40)
        picture = ImageReader(io.BytesIO(self._answer.picture))
        y = self._y - 10 - _PICTURE
        right = _MARGIN + _PICTURE + 24
        for x in (_MARGIN, right):
            self._canvas.drawImage(picture, x, y, _PICTURE, _PICTURE)
        self._canvas.drawImage(ImageReader(io.BytesIO(self._answer.overlay)), right, y, _PICTURE, _PICTURE, mask="auto")
        self._canvas.setFont("plain", 9)
        self._canvas.setFillColorRGB(*_GREY)
        self._canvas.drawString(_MARGIN, y - 13, "The image as the model sees it")
        self._canvas.drawString(right, y - 13, _EVIDENCE if self._shows_evidence() else _NO_EVIDENCE)
        self._y = y - 22

    def _shows_evidence(self) -> bool:
        heatmap = self._answer.prediction.heatmap
        return heatmap is not None and bool(heatmap.max() > 0)


def _wrapped(text: str, font: str, size: float, width: float) -> list[str]:
    """Lines no wider than `width`; words that are wider are cut."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    lines = [""]
    for word in " ".join(text.split()).split(" "):
        rest = word
        while stringWidth(rest, font, size) > width:
            fits = next(n for n in range(len(rest), 0, -1) if n == 1 or stringWidth(rest[:n], font, size) <= width)
            lines.append(rest[:fits])
            rest = rest[fits:]
        longer = f"{lines[-1]} {rest}".strip()
        if stringWidth(longer, font, size) <= width:
            lines[-1] = longer
        else:
            lines.append(rest)
    return [line for line in lines if line] or [""]


@cache
def _register_fonts() -> None:
    """DejaVu, which Matplotlib brings: reportlab's own fonts know Latin letters only."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont

    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    registerFont(TTFont("plain", folder / "DejaVuSans.ttf"))
    registerFont(TTFont("bold", folder / "DejaVuSans-Bold.ttf"))
