"""A model card as HTML: headings, paragraphs, lists, tables, bold words, and nothing else that Markdown can say."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

# A card comes with a bundle, whoever made it: no links, no pictures, no HTML. What is not read here is shown as text.
_RULES = ["heading", "list", "paragraph", "table", "text", "newline", "escape", "emphasis", "backticks"]
_SCROLLED = {"<table>": '<div class="scroll" tabindex="0"><table>', "</table>": "</table></div>"}


def to_html(text: str) -> Markup:
    """Read a model card; every character of its text is escaped.

    Args:
        text: Markdown.
    """
    content = _reader().render(text)
    for tag, scrolled in _SCROLLED.items():
        content = content.replace(tag, scrolled)
    return Markup(content)


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("zero").enable(_RULES)
