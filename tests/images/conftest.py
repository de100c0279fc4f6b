"""Raw data sets with images made on the spot, colour profiles built by hand, and `prepare` without other processes."""

import importlib
import io
import json
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanomafusion.data.dataset import Dataset
from melanomafusion.data.schema import COLUMNS
from melanomafusion.images import prepare as prepare_module
from melanomafusion.testing import paint_lesion

# XYZ of the primaries of sRGB under D50 (IEC 61966-2-1, chromatically adapted as in ICC profiles).
SRGB_PRIMARIES = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))


@pytest.fixture
def encoded():
    """Encodes an array: (array, kind, mode, options of Pillow's save) → bytes."""

    def encode(array, kind="JPEG", mode="RGB", **options):
        out = io.BytesIO()
        Image.fromarray(array).convert(mode).save(out, kind, **options)
        return out.getvalue()

    return encode


@pytest.fixture
def make_dataset(encoded):
    """Writes images into a folder: (folder, count or {name: bytes}, further columns) → Dataset."""

    def make(folder, images=10, **columns):
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(images, int):
            rng = np.random.default_rng(images)
            sizes = [(30 + row, 44, 3) for row in range(images)]
            arrays = [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
            images = {f"i{row:03d}.jpg": encoded(array) for row, array in enumerate(arrays)}
        for name, content in images.items():
            (folder / name).write_bytes(content)
        frame = pd.DataFrame({name: pd.Series([None] * len(images), dtype="str") for name in COLUMNS})
        frame["image_name"] = [name.rpartition(".")[0] for name in images]
        frame["path"] = [str(folder / name) for name in images]
        frame["age_approx"] = np.arange(len(images)) % 7 * 5.0 + 20
        frame["target"] = pd.array(np.arange(len(images)) % 2, dtype="Int64")
        return Dataset(frame.assign(source="made", **columns))

    return make


@pytest.fixture
def in_process(monkeypatch):
    """`prepare` does its tasks here, one after another; their number is counted in the list it gives."""
    started = []

    def run_tasks(tasks, on_event=None):
        for task in tasks:
            started.append(task)
            module, _, function = task.function.partition(":")
            arguments = json.loads(json.dumps(task.arguments))
            getattr(importlib.import_module(module), function)(on_event=on_event or (lambda event: None), **arguments)

    monkeypatch.setattr(prepare_module, "run_tasks", run_tasks)
    return started


def srgb_to_linear(values):
    """The transfer curve of sRGB, 0–1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values):
    """Its inverse."""
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


@pytest.fixture
def curves():
    return srgb_to_linear, linear_to_srgb


def fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def assemble(kind, space, pcs, tags):
    """An ICC profile (version 2.4, ICC.1:2001-04) of some tags."""
    position, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", position + len(body), len(content))
        body += padded
    size = struct.pack(">I", position + len(body))
    dates = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    header = size + bytes(4) + b"\x02\x40\0\0" + kind + space + pcs + dates + b"acsp" + bytes(28)
    header += fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def text_tags(description):
    text = description.encode() + b"\0"
    desc = b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    return {
        b"desc": desc,
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249),
    }


@pytest.fixture
def rgb_profile():
    """Builds a matrix profile: (description, order of the primaries, linear light or the curve of sRGB) → bytes."""

    def build(description="made by hand", order=(0, 1, 2), linear=False):
        values = np.linspace(0, 1, 1024)
        table = np.rint(65535 * (values if linear else srgb_to_linear(values))).astype(">u2")
        curve = b"curv" + bytes(4) + struct.pack(">I", len(table)) + table.tobytes()
        tags = text_tags(description)
        for channel, primary in zip(b"rgb", order, strict=True):
            tags[bytes([channel]) + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*SRGB_PRIMARIES[primary])
            tags[bytes([channel]) + b"TRC"] = curve
        return assemble(b"mntr", b"RGB ", b"XYZ ", tags)

    return build


@pytest.fixture
def black_ink_profile():
    """A CMYK profile in which black ink alone counts: L* = 100 (1 − K), no colour."""
    grid = np.zeros((2, 2, 2, 2, 3), ">u2")
    grid[..., 0] = np.array([0xFF00, 0])  # L* of K = 0 and K = 1, in the 16-bit coding of version 2
    grid[..., 1:] = 0x8000
    identity = fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    ramp = np.array([0, 65535], ">u2").tobytes()
    lut = b"mft2" + bytes(4) + bytes([4, 3, 2, 0]) + identity + struct.pack(">HH", 2, 2)
    return assemble(
        b"prtr", b"CMYK", b"Lab ", text_tags("black ink") | {b"A2B0": lut + ramp * 4 + grid.tobytes() + ramp * 3}
    )


@pytest.fixture
def damaged_files(encoded):
    """Files damaged or odd in ten ways, and more: name → (bytes, whether a faithful picture can be made of it)."""
    rng = np.random.default_rng(7)
    picture = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    smooth = np.kron(picture[:8, :10], np.ones((8, 8, 1), np.uint8))
    whole = encoded(picture, quality=90)
    alpha = np.dstack([smooth, np.full(smooth.shape[:2], 255, np.uint8)])
    alpha[3, 4, 3] = 254
    lesion = encoded(paint_lesion(0.5, 200, rng), quality=90)
    header = struct.pack(">IIBBBBB", 7200, 7000, 8, 2, 0, 0, 0)
    png = _png(smooth)
    huge = png[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + png[33:]
    grey_16 = io.BytesIO()
    Image.fromarray(picture[..., 0].astype(np.uint16) * 257).save(grey_16, "PNG")
    return {
        "truncated.jpg": (whole[: len(whole) // 2], False),
        "zeroed_tail.jpg": (lesion[: len(lesion) // 2] + bytes(len(lesion) // 2), False),
        "all_zero.jpg": (bytes(len(whole)), False),
        "text.jpg": (b"image_name,target\nISIC_1,0\n", False),
        "gif.jpg": (encoded(smooth, "GIF"), False),
        "cmyk.jpg": (encoded(picture, mode="CMYK"), False),
        "sixteen_bits.png": (grey_16.getvalue(), False),
        "grey.jpg": (encoded(picture, mode="L"), True),
        "part_alpha.png": (_png(alpha), False),
        "opaque_alpha.png": (_png(alpha | np.array([0, 0, 0, 255], np.uint8)), True),
        "empty.jpg": (b"", False),
        "fifty_megapixels.png": (huge, False),
        "sound.jpg": (whole, True),
    }


def _png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()
