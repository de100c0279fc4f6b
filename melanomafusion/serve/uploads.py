"""What a stranger may send: so many bytes, JPEG or PNG, so many pixels; looked at before anything is decoded."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from ..errors import ImageError
from ..images.decode import opened_image

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 50_000_000
_FORM = 64 * 1024  # bytes of the other fields and the form's own lines
_DRAINED = 4 * MAX_BYTES  # read and thrown away, so that a client that sends too much still reads the answer


class UploadError(Exception):
    """An upload that is refused.

    Attributes:
        status: HTTP status.
        message: for the one who sent it; holds nothing of what was sent.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


TOO_LARGE = f"The upload has more than {MAX_BYTES // 2**20} MB. Send a smaller JPEG or PNG file."


class BodyLimit:
    """ASGI middleware that counts a request's bytes while they come in, whatever its headers say."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on; too long a body ends in 413."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        count = 0

        async def counted() -> Any:
            nonlocal count
            message = await receive()
            count += len(message.get("body", b""))
            if count <= MAX_BYTES + _FORM:
                return message
            while message.get("more_body") and count <= _DRAINED:
                message = await receive()
                count += len(message.get("body", b""))
            raise HTTPException(413, TOO_LARGE)

        await self.app(scope, counted, send)


def check_upload(content: bytes) -> None:
    """Refuse what is no picture, or too large a one, from its header alone.

    Raises:
        UploadError: 413, 415 or 422.
    """
    if len(content) > MAX_BYTES:
        raise UploadError(413, TOO_LARGE)
    if not content:
        raise UploadError(422, "The file is empty. Choose a JPEG or PNG image.")
    if not content.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise UploadError(415, "This is not a JPEG or PNG image. Save it as one of them.")
    try:
        with opened_image(content) as opened:
            width, height = opened.size
    except ImageError as error:
        raise UploadError(422, in_words(error)) from None
    if width * height > MAX_PIXELS:
        raise UploadError(
            413, f"The image has {width:,} × {height:,} pixels; at most {MAX_PIXELS // 10**6} million are taken."
        )


def in_words(error: ImageError) -> str:
    """A message about an upload, which has no name."""
    return f"The image cannot be used: {str(error).removeprefix('image').lstrip(': ').splitlines()[0]}"
