"""`ImageSpec`: what is accepted, what is refused and why, and how the picture is made."""

import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from melanomafusion.errors import ImageError
from melanomafusion.images.preparation import Preparation
from melanomafusion.images.prepare import prepare
from melanomafusion.images.spec import ImageSpec

SPEC = ImageSpec(16)
TURNED_RIGHT = 6  # EXIF orientation: turn by 90° clockwise to see it upright
ORIENTATION = 0x0112


@pytest.fixture
def picture():
    """(40, 60, 3) uint8 without any symmetry."""
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([4 * x, 6 * y, 255 - 2 * (x + y)], axis=-1).astype(np.uint8)


def save(path, array, mode="RGB", **options):
    Image.fromarray(array).convert(mode).save(path, **options)
    return path


def png_16_bit(array):
    """The bytes of a PNG of 16 bits per channel, grey or RGB, which Pillow cannot write."""
    channels = 1 if array.ndim == 2 else array.shape[2]
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def refused(image, *reasons):
    """The message with which an image is refused; it names the file."""
    with pytest.raises(ImageError) as error:
        SPEC.load(image)
    message = str(error.value)
    for part in (*reasons, "image" if isinstance(image, bytes) else str(image)):
        assert part in message
    return message


@pytest.mark.parametrize("size", [8, 16, 100])
def test_load_gives_a_square_of_the_wanted_size(tmp_path, picture, size):
    pixels = ImageSpec(size).load(save(tmp_path / "a.png", picture))
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8


def test_path_text_and_bytes_give_the_same_pixels(tmp_path, picture):
    path = save(tmp_path / "a.jpg", picture)
    pixels = SPEC.load(path)
    np.testing.assert_array_equal(SPEC.load(str(path)), pixels)
    np.testing.assert_array_equal(SPEC.load(path.read_bytes()), pixels)


def test_load_is_the_antialiased_resize_of_pillow(tmp_path, picture):
    wanted = Image.fromarray(picture).resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(SPEC.load(save(tmp_path / "a.png", picture)), np.asarray(wanted))


@pytest.mark.parametrize("size", [7, 4097, 0, -16, 16.0, "16", None])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(ImageError, match="from 8 to 4096"):
        ImageSpec(size)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path, picture, mode, suffix):
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    upright = SPEC.load(save(tmp_path / f"plain.{suffix}", picture, mode))
    turned = SPEC.load(save(tmp_path / f"turned.{suffix}", picture, mode, exif=exif))
    np.testing.assert_allclose(turned.astype(int), np.rot90(upright, -1).astype(int), atol=1)
    assert np.abs(turned.astype(int) - upright).mean() > 10


def test_exif_orientation_survives_the_way_from_rgba_to_rgb(tmp_path, picture):
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    upright = SPEC.load(save(tmp_path / "plain.png", picture))
    turned = SPEC.load(save(tmp_path / "turned.png", picture, "RGBA", exif=exif))
    np.testing.assert_allclose(turned.astype(int), np.rot90(upright, -1).astype(int), atol=1)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_grey_palette_and_opaque_images_become_rgb(tmp_path, picture, mode):
    pixels = SPEC.load(save(tmp_path / "a.png", picture, mode))
    wanted = Image.fromarray(picture).convert(mode).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(pixels, np.asarray(wanted))


def test_grey_jpeg_has_three_equal_channels(tmp_path, picture):
    pixels = SPEC.load(save(tmp_path / "a.jpg", picture, "L"))
    np.testing.assert_array_equal(pixels, pixels[..., :1].repeat(3, axis=2))


def test_second_picture_of_a_camera_file_is_ignored(tmp_path, picture):
    first, second = Image.fromarray(picture), Image.fromarray(255 - picture)
    first.save(tmp_path / "a.mpo", format="MPO", save_all=True, append_images=[second], quality=95)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    plain = save(tmp_path / "plain.jpg", picture, quality=95)
    np.testing.assert_array_equal(SPEC.load(tmp_path / "a.jpg"), SPEC.load(plain))


def test_transparent_pixels_are_refused(tmp_path, picture):
    image = Image.fromarray(picture).convert("RGBA")
    image.putpixel((3, 4), (0, 0, 0, 254))
    image.save(tmp_path / "a.png")
    refused(tmp_path / "a.png", "transparent", "Flatten")


def test_palette_with_a_transparent_colour_in_use_is_refused(tmp_path, picture):
    image = Image.fromarray(picture).convert("P")
    image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    refused(tmp_path / "a.png", "transparent")


def test_colour_key_that_no_pixel_has_is_accepted(tmp_path, picture):
    pixels = SPEC.load(save(tmp_path / "a.png", picture, transparency=(1, 2, 3)))
    np.testing.assert_array_equal(pixels, SPEC.load(save(tmp_path / "b.png", picture)))


def test_cmyk_is_refused(tmp_path, picture):
    refused(save(tmp_path / "a.jpg", picture, "CMYK"), "CMYK", "Convert it to RGB")


def test_grey_of_16_bits_is_refused(tmp_path, picture):
    (tmp_path / "a.png").write_bytes(png_16_bit(picture[..., 0].astype(np.uint16) * 257))
    refused(tmp_path / "a.png", "16 bits", "8-bit RGB")


def test_rgb_of_16_bits_gives_the_picture_of_its_high_bytes(tmp_path, picture):
    pixels = SPEC.load(png_16_bit(picture.astype(np.uint16) * 256 + 17))
    np.testing.assert_array_equal(pixels, SPEC.load(save(tmp_path / "a.png", picture)))


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file_is_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{suffix}", noise)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "damaged", "truncated")


def test_truncated_bytes_are_refused(tmp_path, picture):
    content = save(tmp_path / "a.png", picture).read_bytes()
    refused(content[: len(content) // 2], "damaged")


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"image_name,target\n", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", bytes(1000)]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", ""])
def test_file_that_is_no_image_is_refused_whatever_its_name(tmp_path, content, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    refused(path, "image")
    refused(content, "image")


def test_text_and_empty_files_are_said_to_be_no_image(tmp_path):
    for content in (b"", b"hello"):
        (tmp_path / "a.jpg").write_bytes(content)
        refused(tmp_path / "a.jpg", "not a JPEG or PNG image, whatever its name says")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "WEBP", "ICO"])
def test_image_of_another_format_is_refused_whatever_its_name(tmp_path, picture, kind):
    refused(save(tmp_path / "a.jpg", picture, format=kind), "not a JPEG or PNG image, whatever its name says")


def test_png_named_jpg_is_accepted(tmp_path, picture):
    wrong, right = save(tmp_path / "a.jpg", picture, format="PNG"), save(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(SPEC.load(wrong), SPEC.load(right))


def test_first_file_of_a_process_may_be_no_image():
    # Pillow registers its decoders late: what it knows depends on what was opened before.
    script = (
        "from melanomafusion.errors import ImageError\n"
        "from melanomafusion.images.spec import ImageSpec\n"
        "try:\n"
        "    ImageSpec(16).load(b'hello')\n"
        "except ImageError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert "not a JPEG or PNG image" in done.stdout


def test_missing_file_is_refused(tmp_path):
    refused(tmp_path / "a.jpg", "no such file")


def test_folder_is_refused(tmp_path):
    refused(tmp_path, "damaged")


def test_decompression_bomb_is_refused_from_its_header(tmp_path, picture, monkeypatch):
    path = save(tmp_path / "a.png", picture)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # the picture has 2,400
    refused(path, "refused", "2400")


@pytest.mark.parametrize(("height", "width", "size"), [(1200, 1800, 64), (1800, 1200, 100), (900, 900, 224)])
def test_scaled_decoding_of_a_large_jpeg_agrees_with_a_full_decode(height, width, size):
    y, x = np.mgrid[0:height, 0:width] / 100.0
    waves = np.stack([np.sin(3 * x + y), np.cos(5 * y), np.sin(x * y)], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray((127.5 + 120 * waves).astype(np.uint8)).save(buffer, format="JPEG", quality=92)
    full = Image.open(io.BytesIO(buffer.getvalue())).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    difference = np.abs(ImageSpec(size).load(buffer.getvalue()).astype(int) - np.asarray(full))
    assert difference.mean() < 2


def test_jpeg_below_twice_the_size_is_decoded_in_full(tmp_path, picture):
    path = save(tmp_path / "a.jpg", picture)
    with Image.open(path) as image:
        wanted = image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(ImageSpec(32).load(path), np.asarray(wanted))


def test_json_round_trip():
    assert ImageSpec.from_json(ImageSpec(380).to_json()) == ImageSpec(380)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"format": 1}', "not JSON"])
def test_other_texts_are_refused(text):
    with pytest.raises(ImageError, match="Not an image spec"):
        ImageSpec.from_json(text)


@pytest.mark.parametrize(
    "change", [{"format": 3}, {"resize": "nearest"}, {"colour": "BGR"}, {"range": [0, 1]}, {"crop": "centre"}]
)
def test_steps_of_another_version_are_refused(change):
    content = {**json.loads(SPEC.to_json()), **change}
    with pytest.raises(ImageError, match="does not know"):
        ImageSpec.from_json(json.dumps(content))


def test_json_with_an_impossible_size_is_refused():
    content = {**json.loads(SPEC.to_json()), "size": 5}
    with pytest.raises(ImageError, match="from 8 to 4096"):
        ImageSpec.from_json(json.dumps(content))


def test_odd_exif_of_a_sound_image_does_not_stop_it(tmp_path):
    # Orientation 6, and a resolution written as text: Pillow cannot write such EXIF again.
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + struct.pack("<HHI", 0x011A, 2, 3) + b"72\0\0"
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "plain.jpg")
    Image.fromarray(picture).save(tmp_path / "odd.jpg", exif=exif)
    upright, turned = ImageSpec(16).load(tmp_path / "plain.jpg"), ImageSpec(16).load(tmp_path / "odd.jpg")
    np.testing.assert_allclose(turned.astype(int), np.rot90(upright, -1).astype(int), atol=1)


FORMAT_1 = """{
  "format": 1,
  "size": 224,
  "colour": "RGB",
  "orientation": "exif",
  "resize": "bilinear antialiased, squeezed",
  "range": [0, 255]
}
"""


def test_format_1_is_read_and_knows_no_profiles():
    assert ImageSpec.from_json(FORMAT_1) == ImageSpec(224, to_srgb=False)


@pytest.mark.parametrize(
    "change", [("bilinear", "nearest"), ('"RGB"', '"BGR"'), ("[0, 255]", "[0, 1]"), ("exif", "none")]
)
def test_format_1_of_other_steps_is_refused(change):
    with pytest.raises(ImageError, match="does not know"):
        ImageSpec.from_json(FORMAT_1.replace(*change))


def test_format_1_with_the_keys_of_format_2_is_refused():
    with pytest.raises(ImageError, match="does not know"):
        ImageSpec.from_json(json.dumps({**json.loads(FORMAT_1), "prepared": None}))


@pytest.mark.parametrize(
    "spec",
    [
        ImageSpec(64, to_srgb=False),
        ImageSpec(64, Preparation(128)),
        ImageSpec(8, Preparation(4096, "longest-side", True, True, None), to_srgb=False),
    ],
)
def test_prepared_specs_go_there_and_back_through_json(spec):
    text = spec.to_json()
    assert ImageSpec.from_json(text) == spec
    assert json.loads(text)["format"] == 2


@pytest.mark.parametrize("prepared", [{}, [], "yes", {"size": 16}, {**Preparation(16).to_dict(), "sharpen": 1}])
def test_a_preparation_of_another_version_is_refused(prepared):
    content = {**json.loads(SPEC.to_json()), "prepared": prepared}
    with pytest.raises(ImageError, match="Not a preparation"):
        ImageSpec.from_json(json.dumps(content))


def test_a_profile_changes_the_pixels_unless_they_are_taken_as_stored(picture, encoded, rgb_profile):
    content = encoded(picture, "PNG", icc_profile=rgb_profile(order=(2, 1, 0)))
    plain = SPEC.load(encoded(picture, "PNG"))
    np.testing.assert_array_equal(ImageSpec(16, to_srgb=False).load(content), plain)
    np.testing.assert_allclose(SPEC.load(content).astype(int), plain[..., ::-1].astype(int), atol=2)


@pytest.mark.parametrize("size", [16, 24, 48])
@pytest.mark.parametrize(
    "preparation", [Preparation(24), Preparation(24, quality=None), Preparation(24, "longest-side")]
)
def test_a_raw_file_is_prepared_in_memory_and_a_row_of_a_shard_is_not_prepared_twice(
    make_dataset, tmp_path, in_process, size, preparation
):
    data = make_dataset(tmp_path / "raw", 3)
    options = preparation.to_dict()
    prepare(data, tmp_path / "out", image_size=options.pop("size"), **options)
    spec = ImageSpec(size, preparation)
    for row, raw in enumerate(data.frame["path"]):
        served = spec.load(raw)
        np.testing.assert_array_equal(served, spec.load(f"{tmp_path}/out/shard-00000.parquet#{row}"))
        np.testing.assert_array_equal(served, ImageSpec(size).load(preparation.encode(raw)))
        assert served.shape == (size, size, 3)


def test_raw_bytes_are_prepared_too(picture, encoded):
    preparation = Preparation(16, "centre-crop", colour_constancy=True)
    content = encoded(picture)
    wanted = ImageSpec(16).load(preparation.encode(content))
    np.testing.assert_array_equal(ImageSpec(16, preparation).load(content), wanted)
    assert np.abs(wanted.astype(int) - SPEC.load(content)).mean() > 5


def test_a_raw_file_that_cannot_be_prepared_is_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"text")
    with pytest.raises(ImageError) as error:
        ImageSpec(16, Preparation(16)).load(tmp_path / "a.jpg")
    assert str(error.value).count(str(tmp_path / "a.jpg")) == 1
    with pytest.raises(ImageError, match=r"^image: not a JPEG or PNG image"):
        ImageSpec(16, Preparation(16)).load(b"text")


@pytest.mark.parametrize("prepared", [None, Preparation(16)])
def test_a_damaged_image_in_a_shard_is_named_by_shard_and_row(make_dataset, tmp_path, in_process, prepared):
    prepare(make_dataset(tmp_path / "raw", 3), tmp_path / "out", image_size=16)
    shard = tmp_path / "out" / "shard-00000.parquet"
    content = shard.read_bytes()
    first = content.index(b"\xff\xd8\xff")
    end = content.index(b"\xff\xd9", first)
    shard.write_bytes(content[: end - 200] + bytes(200) + content[end:])
    with pytest.raises(ImageError, match=r"shard-00000\.parquet#0: damaged image"):
        ImageSpec(16, prepared).load(f"{shard}#0")
    assert ImageSpec(16, prepared).load(f"{shard}#1").shape == (16, 16, 3)


def test_a_row_that_is_not_there_is_refused(make_dataset, tmp_path, in_process):
    prepare(make_dataset(tmp_path / "raw", 3), tmp_path / "out", image_size=16)
    with pytest.raises(ImageError, match="holds 3 images; there is no row 3"):
        SPEC.load(f"{tmp_path}/out/shard-00000.parquet#3")


def test_a_row_that_is_not_there_is_named_once(make_dataset, tmp_path, in_process):
    prepare(make_dataset(tmp_path / "raw", 3), tmp_path / "out", image_size=16)
    with pytest.raises(ImageError) as error:
        SPEC.load(f"{tmp_path}/out/shard-00000.parquet#3")
    assert str(error.value).count("shard-00000.parquet") == 1
