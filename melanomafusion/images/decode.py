"""From a JPEG or PNG file to an upright sRGB picture, with Pillow; what cannot be read faithfully is refused."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageCms, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

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


@contextmanager
def opened_image(image: str | Path | bytes) -> Iterator[Image.Image]:
    """Open a JPEG or PNG file, only its header read; whatever goes wrong in the block becomes an `ImageError`.

    Args:
        image: path, or the bytes of a file.

    Raises:
        ImageError: names the file and the reason.
    """
    name = name_of(image)
    try:
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image, formats=FORMATS) as opened:
            yield opened
    except FileNotFoundError:
        raise ImageError(f"{name}: there is no such file.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name}: not a JPEG or PNG image, whatever its name says.") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: refused, {error}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ImageError(f"{name}: damaged image ({error}). Fetch or convert the file again.") from None


def name_of(image: str | Path | bytes) -> str:
    """What messages call an image."""
    return "image" if isinstance(image, bytes) else str(image)


def upright_rgb(opened: Image.Image, name: str, *, at_least: tuple[int, int], to_srgb: bool = True) -> Image.Image:
    """Decode an opened image: EXIF orientation applied, embedded colour profile converted to sRGB.

    Args:
        opened: of `opened_image`.
        name: for messages.
        at_least: (width, height) as stored; JPEG files are decoded at the smallest DCT scale (1, 1/2, 1/4, 1/8) that is
            no smaller in both directions, which is several times faster for full-resolution files.
        to_srgb: convert an embedded profile; False takes the numbers as they are stored.

    Returns:
        Picture of mode RGB.

    Raises:
        ImageError: 16-bit grey, transparent pixels, CMYK without a profile, or an animation: no faithful 8-bit RGB
            picture can be made of them without a decision. RGB of 16 bits keeps the high byte of each.
    """
    is_jpeg = isinstance(opened, JpegImagePlugin.JpegImageFile)  # of cameras that store a second picture too
    if not is_jpeg:
        _check_png(opened, name)
    turn = _TURNS.get(_orientation(opened))
    profile = opened.info.get("icc_profile") if to_srgb else None
    if opened.mode == "CMYK":
        rgb = (_to_srgb(opened, profile) if profile else None) or _to_rgb(opened, name)
    else:
        rgb = _decoded_jpeg(opened, at_least) if is_jpeg and opened.mode in ("RGB", "L") else _to_rgb(opened, name)
        rgb = (_to_srgb(rgb, profile) if profile else None) or rgb
    return rgb if turn is None else rgb.transpose(turn)


def _decoded_jpeg(opened: Image.Image, at_least: tuple[int, int]) -> Image.Image:
    """The same pixels as Pillow's, but files whose data end early or make no sense are refused.

    Pillow passes over libjpeg's warnings: it shows grey where the data end.
    """
    content = _content(opened)
    (width, height), (least_width, least_height) = opened.size, at_least
    scale = next(s for s in (8, 4, 2, 1) if s == 1 or (width // s >= least_width and height // s >= least_height))
    least = {"min_width": -(-width // scale), "min_height": -(-height // scale), "min_factor": 1}
    return Image.fromarray(simplejpeg.decode_jpeg(content, "RGB", strict=True, **least))


def _check_png(opened: Image.Image, name: str) -> None:
    """Refuse an animated PNG, and one whose data end early: Pillow shows the first picture, and black."""
    count = getattr(opened, "n_frames", 1)  # stands before the pixels
    if count > 1:
        raise ImageError(f"{name}: an animated PNG of {count:,} pictures. Save the one that is meant alone.")
    if opened.fp is None:  # type: ignore[attr-defined]  # decoded before, so looked at before
        return
    content = _content(opened)
    # A chunk that claims gigabytes is believed by OpenCV, which makes room for them before it looks.
    if not _chunks_fit(content) or cv2.imdecode(np.frombuffer(content, "uint8"), cv2.IMREAD_UNCHANGED) is None:
        raise ValueError("its pixels end early")


def _chunks_fit(content: bytes) -> bool:
    """Whether every chunk of a PNG file ends within the file: 4 bytes length, 4 name, the data, 4 checksum."""
    place = 8
    while place + 8 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        if place + 12 + length > len(content):
            return False
        if content[place + 4 : place + 8] == b"IEND":
            return True
        place += 12 + length
    return True


def _content(opened: Image.Image) -> bytes:
    """The whole file; Pillow goes on from where it was."""
    file = opened.fp  # type: ignore[attr-defined]  # of every image that was opened
    place = file.tell()
    file.seek(0)
    content: bytes = file.read()
    file.seek(place)
    return content


def _to_srgb(image: Image.Image, embedded: bytes) -> Image.Image | None:
    """An RGB or CMYK image in sRGB; None where its profile is sRGB's, or of no use for it."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        description = ImageCms.getProfileDescription(profile).lower()
        if description.startswith("srgb") and "g10" not in description and "linear" not in description:
            return None
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):  # a damaged profile of a sound picture is no reason to refuse it
        return None


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
