"""`ImageSpec`: the whole way from an image file to a tensor, and its one implementation.

Training and serving both decode with Pillow through `ImageSpec.load`, so they cannot disagree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from ..data.containers import read_image_bytes, split_locator
from ..errors import ImageError
from .decode import name_of, opened_image, upright_rgb
from .preparation import Preparation

_STEPS = {"orientation": "exif", "resize": "bilinear antialiased, squeezed", "range": [0, 255]}


@dataclass(frozen=True)
class ImageSpec:
    """How an image file becomes a tensor: EXIF orientation, sRGB, squeezed to a square, 8 bits.

    Resizing is bilinear with antialiasing. JPEG files are decoded at the smallest DCT scale that is at least twice
    the wanted size, which is several times faster than a full decode for full-resolution files.

    Args:
        size: side in pixels, 8 … 4096.
        prepared: how the images were prepared that a model was trained on. A raw file is then prepared in memory
            first, so it gives the very pixels that its row in a prepared shard gives.
        to_srgb: convert embedded colour profiles; False takes the numbers as they are stored.

    Raises:
        ImageError: size out of range.
    """

    size: int
    prepared: Preparation | None = None
    to_srgb: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or not 8 <= self.size <= 4096:
            raise ImageError(f"Image size must be a whole number from 8 to 4096. Received: size={self.size!r}")

    def load(self, image: str | Path | bytes) -> np.ndarray:
        """Decode one image.

        Args:
            image: path of a JPEG or PNG file, `container#row` for a prepared shard or a TFRecord, or the bytes of a raw
                file. Grey images become RGB; 16-bit grey, transparent or animated images and CMYK without a profile are
                refused, because no faithful 8-bit RGB picture can be made of them without a decision.

        Returns:
            (size, size, 3) uint8, RGB.

        Raises:
            ImageError: names the file and the reason.
        """
        name = name_of(image)
        try:
            return self._load(image)
        except ValueError as error:  # simplejpeg's word for a damaged file
            raise ImageError(f"{name}: damaged image ({error}). Prepare the images again.") from None
        except ImageError as error:
            # What was read from a container or prepared in memory is bytes: say whose.
            message = str(error)
            place = split_locator(name)
            named = message.startswith(place[0] if place else name)
            raise ImageError(message if named else f"{name}{message.removeprefix('image')}") from None

    def _load(self, image: str | Path | bytes) -> np.ndarray:
        inside = None if isinstance(image, bytes) else split_locator(image)
        source = read_image_bytes(image) if inside and not isinstance(image, bytes) else image
        is_prepared = inside is not None and inside[0].endswith(".parquet")
        if self.prepared is not None and not is_prepared:
            source = self.prepared.encode(source)
        elif is_prepared and isinstance(source, bytes) and self._takes_as_it_is(source):
            # The same libjpeg, so the same pixels as Pillow's, in two thirds of the time.
            return np.asarray(simplejpeg.decode_jpeg(source, "RGB"))
        with opened_image(source) as opened:
            twice = (2 * self.size, 2 * self.size)
            picture = upright_rgb(opened, name_of(source), at_least=twice, to_srgb=self.to_srgb)
            if picture.size != (self.size, self.size):
                picture = picture.resize((self.size, self.size), Image.Resampling.BILINEAR)
            return np.asarray(picture, dtype=np.uint8)

    def _takes_as_it_is(self, content: bytes) -> bool:
        """Whether an image from a shard is a JPEG of the wanted size: nothing but decoding is left."""
        if not simplejpeg.is_jpeg(content):
            return False
        height, width, colour, _ = simplejpeg.decode_jpeg_header(content)
        return (height, width, colour) == (self.size, self.size, "YCbCr")

    def to_json(self) -> str:
        """Every step as JSON text (format 2)."""
        content: dict[str, Any] = {"format": 2, "size": self.size, **_STEPS}
        content["colour"] = "sRGB" if self.to_srgb else "RGB as stored"
        content["prepared"] = self.prepared.to_dict() if self.prepared else None
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ImageSpec:
        """Read what `to_json` wrote, of this version or of format 1, which knew neither profiles nor prepared shards.

        Raises:
            ImageError: not such a text, or of another format.
        """
        try:
            content = json.loads(text)
            if content.get("format") == 1:
                if content != {"format": 1, "size": content["size"], "colour": "RGB", **_STEPS}:
                    raise ImageError(f"An image spec this version does not know: {content}.")
                return cls(content["size"], to_srgb=False)
            prepared = Preparation.from_dict(content["prepared"]) if content["prepared"] is not None else None
            spec = cls(content["size"], prepared, to_srgb=content["colour"] == "sRGB")
            known = json.loads(spec.to_json())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ImageError(f"Not an image spec written by to_json: {error!r}") from None
        if content != known:
            raise ImageError(f"An image spec this version does not know: {content}. Expected {known}.")
        return spec
