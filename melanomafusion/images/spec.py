"""`ImageSpec`: the whole way from an image file to a tensor, and its one implementation.

Training and serving both decode with Pillow through `ImageSpec.load`, so they cannot disagree.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from ..errors import ImageError

# Importing the plugins registers them: Pillow's own late registration is not safe in threads.
FORMATS = (JpegImagePlugin.JpegImageFile.format, PngImagePlugin.PngImageFile.format)
_PLAIN_MODES = ("RGB", "L", "P", "1")
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class ImageSpec:
    """How an image file becomes a tensor: EXIF orientation, RGB, squeezed to a square, 8 bits.

    Resizing is bilinear with antialiasing. JPEG files are decoded at the smallest DCT scale that is at least twice
    the wanted size, which is several times faster than a full decode for full-resolution files.

    Args:
        size: side in pixels, 8 … 4096.

    Raises:
        ImageError: size out of range.
    """

    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 8 <= self.size <= 4096:
            raise ImageError(f"Image size must be a whole number from 8 to 4096. Received: size={self.size!r}")

    def load(self, image: str | Path | bytes) -> np.ndarray:
        """Decode one image.

        Args:
            image: path, or the bytes of a JPEG or PNG file. Grey images become RGB; 16-bit grey, CMYK and transparent
                images are refused, because no faithful 8-bit RGB picture can be made of them without a decision.

        Returns:
            (size, size, 3) uint8, RGB.

        Raises:
            ImageError: names the file and the reason.
        """
        name = "image" if isinstance(image, bytes) else str(image)
        try:
            with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS) as opened:
                opened.draft("RGB", (2 * self.size, 2 * self.size))
                turn = _TURNS.get(_orientation(opened))
                rgb = _to_rgb(opened, name)
                upright = rgb if turn is None else rgb.transpose(turn)
                resized = upright.resize((self.size, self.size), Image.Resampling.BILINEAR)
                return np.asarray(resized, dtype=np.uint8)
        except FileNotFoundError:
            raise ImageError(f"{name}: there is no such file.") from None
        except UnidentifiedImageError:
            raise ImageError(f"{name}: not a JPEG or PNG image, whatever its name says.") from None
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: refused, {error}") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ImageError(f"{name}: damaged image ({error}). Fetch or convert the file again.") from None

    def to_json(self) -> str:
        """Every step as JSON text (format 1)."""
        steps = {"orientation": "exif", "colour": "RGB", "resize": "bilinear antialiased, squeezed", "range": [0, 255]}
        return json.dumps({"format": 1, "size": self.size, **steps}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ImageSpec:
        """Read what `to_json` wrote.

        Raises:
            ImageError: not such a text, or of another format.
        """
        try:
            content = json.loads(text)
            spec = cls(content["size"])
            known = json.loads(spec.to_json())
        except (ValueError, KeyError, TypeError) as error:
            raise ImageError(f"Not an image spec written by to_json: {error!r}") from None
        if content != known:
            raise ImageError(f"An image spec this version does not know: {content}. Expected {known}.")
        return spec


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in _PLAIN_MODES and "transparency" not in image.info:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "P", "L", "RGB"):
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() == (255, 255):
            return rgba.convert("RGB")
        raise ImageError(f"{name}: has transparent pixels. Flatten it onto a background and save it as RGB.")
    if image.mode == "CMYK":
        raise ImageError(f"{name}: a CMYK image; its colours depend on a print profile. Convert it to RGB.")
    raise ImageError(f"{name}: pixels of mode {image.mode} (16 bits or more per channel). Save it as 8-bit RGB.")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none. Damaged EXIF of a sound picture is no reason to refuse it."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, EOFError, struct.error):
        return 1
