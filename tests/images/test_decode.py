"""From a file to an upright sRGB picture: orientation, colour profiles, and what is refused."""

import io
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from melanomafusion.errors import ImageError
from melanomafusion.images.decode import name_of, opened_image, upright_rgb
from melanomafusion.images.spec import ImageSpec

ORIENTATION = 0x0112
# EXIF 2.3: which side of the upright picture the first row and the first column of the stored one are.
AS_STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


@pytest.fixture
def picture():
    """(40, 60, 3) uint8 without any symmetry."""
    y, x = np.mgrid[0:40, 0:60]
    return np.stack([4 * x, 6 * y, 255 - 2 * (x + y)], axis=-1).astype(np.uint8)


def decode(content, at_least=(4096, 4096), **options):
    with opened_image(content) as opened:
        return np.asarray(upright_rgb(opened, name_of(content), at_least=at_least, **options))


def tagged(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", AS_STORED)
def test_every_exif_orientation_is_set_upright(picture, encoded, orientation):
    stored = np.ascontiguousarray(AS_STORED[orientation](picture))
    shown = decode(encoded(stored, "PNG", exif=tagged(orientation)))
    np.testing.assert_array_equal(shown, picture)


@pytest.mark.parametrize("orientation", AS_STORED)
def test_every_exif_orientation_of_a_scaled_jpeg_is_set_upright(picture, encoded, orientation):
    large = np.kron(picture, np.ones((16, 16, 1), np.uint8))
    stored = np.ascontiguousarray(AS_STORED[orientation](large))
    shown = decode(encoded(stored, exif=tagged(orientation), quality=95), at_least=(60, 60))
    assert shown.shape[0] * 3 == shown.shape[1] * 2
    wanted = Image.fromarray(large).resize(shown.shape[1::-1], Image.Resampling.BOX)
    assert np.abs(shown.astype(int) - np.asarray(wanted)).mean() < 3


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(picture, encoded, orientation):
    np.testing.assert_array_equal(decode(encoded(picture, "PNG", exif=tagged(orientation))), picture)


@pytest.mark.parametrize(
    ("side", "decoded"), [(1, 50), (50, 50), (51, 100), (100, 100), (101, 200), (201, 400), (900, 400)]
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_no_smaller(encoded, side, decoded):
    grey = np.full((400, 400, 3), 90, np.uint8)
    assert decode(encoded(grey), at_least=(side, side)).shape == (decoded, decoded, 3)


def test_the_scale_fits_both_sides(encoded):
    assert decode(encoded(np.zeros((400, 1600, 3), np.uint8)), at_least=(200, 200)).shape == (200, 800, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_swapped_primaries_are_swapped_back(picture, encoded, rgb_profile, kind):
    plain = decode(encoded(picture, kind))
    shown = decode(encoded(picture, kind, icc_profile=rgb_profile(order=(2, 1, 0))))
    np.testing.assert_allclose(shown.astype(int), plain[..., ::-1].astype(int), atol=2)
    assert np.abs(shown.astype(int) - plain).mean() > 20


def test_linear_light_gets_the_curve_of_srgb(picture, encoded, rgb_profile, curves):
    _, to_srgb = curves
    shown = decode(encoded(picture, "PNG", icc_profile=rgb_profile(linear=True)))
    np.testing.assert_allclose(shown, 255 * to_srgb(picture / 255.0), atol=1.5)


def test_a_profile_equal_to_srgb_under_another_name_changes_nothing_to_speak_of(picture, encoded, rgb_profile):
    shown = decode(encoded(picture, "PNG", icc_profile=rgb_profile()))
    np.testing.assert_allclose(shown.astype(int), picture.astype(int), atol=1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_srgb_is_left_as_it_is(picture, encoded, kind):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decode(encoded(picture, kind, icc_profile=profile)), decode(encoded(picture, kind)))


def test_linear_srgb_is_not_srgb(picture, encoded, rgb_profile, curves):
    _, to_srgb = curves
    shown = decode(encoded(picture, "PNG", icc_profile=rgb_profile("Linear sRGB", linear=True)))
    np.testing.assert_allclose(shown, 255 * to_srgb(picture / 255.0), atol=1.5)


def test_profiles_are_left_alone_where_that_is_wanted(picture, encoded, rgb_profile):
    content = encoded(picture, "PNG", icc_profile=rgb_profile(order=(2, 1, 0)))
    np.testing.assert_array_equal(decode(content, to_srgb=False), picture)


def test_a_profile_of_another_colour_space_is_ignored(picture, encoded):
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode(encoded(picture, "PNG", icc_profile=lab)), picture)


@pytest.mark.parametrize("junk", [b"junk" * 50, bytes(500)])
def test_a_damaged_profile_is_ignored(picture, encoded, junk):
    np.testing.assert_array_equal(decode(encoded(picture, "PNG", icc_profile=junk)), picture)


def test_a_profile_with_damaged_tags_is_ignored_or_used_but_stops_nothing(picture, encoded, rgb_profile):
    profile = rgb_profile()
    for start in range(128, 330, 10):
        damaged = profile[:start] + bytes(10) + profile[start + 10 :]
        assert decode(encoded(picture, "PNG", icc_profile=damaged)).shape == picture.shape


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_an_opaque_image_of_another_mode_has_its_profile_converted_too(picture, encoded, rgb_profile, mode):
    plain = decode(encoded(picture, "PNG", mode))
    shown = decode(encoded(picture, "PNG", mode, icc_profile=rgb_profile(order=(2, 1, 0))))
    np.testing.assert_allclose(shown.astype(int), plain[..., ::-1].astype(int), atol=2)


def test_cmyk_without_a_profile_is_refused(picture, encoded):
    with pytest.raises(ImageError, match=r"CMYK.*print profile"):
        decode(encoded(picture, mode="CMYK"))


def test_cmyk_with_a_profile_becomes_srgb(encoded, black_ink_profile, curves):
    _, to_srgb = curves
    black = np.repeat(np.arange(0, 256, 17, dtype=np.uint8), 16)[None].repeat(16, 0)
    ink = Image.merge("CMYK", [Image.new("L", (256, 16))] * 3 + [Image.fromarray(black)])
    out = io.BytesIO()
    ink.save(out, "JPEG", quality=100, icc_profile=black_ink_profile)
    shown = decode(out.getvalue())
    lightness = 100 * (1 - black / 255.0)
    # CIE 1976: relative luminance of L*.
    luminance = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    np.testing.assert_allclose(shown, np.repeat(255 * to_srgb(luminance)[..., None], 3, axis=2), atol=3)


def test_cmyk_with_a_profile_is_refused_where_profiles_are_left_alone(picture, encoded, black_ink_profile):
    with pytest.raises(ImageError, match="CMYK"):
        decode(encoded(picture, mode="CMYK", icc_profile=black_ink_profile), to_srgb=False)


def test_damaged_and_odd_files_are_refused_by_name_and_the_others_shown(tmp_path, damaged_files):
    for name, (content, sound) in damaged_files.items():
        path = tmp_path / name
        path.write_bytes(content)
        if sound:
            assert decode(path).shape[2] == 3
            continue
        with pytest.raises(ImageError, match=re.escape(str(path))):
            decode(path)


def _taller(whole):
    """The same pixels under a header of 50 megapixels."""
    height = whole.index(b"\xff\xc0") + 5
    return whole[:height] + struct.pack(">HH", 7000, 7200) + whole[height + 4 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[: len(whole) // 2] + bytes(len(whole) // 2),
        lambda whole: whole[: len(whole) // 2] + b"\xff\xd9",
        lambda whole: whole[: len(whole) // 2] + whole[len(whole) // 2 + 300 :],
        lambda whole: whole[: len(whole) // 2] + bytes(300) + whole[len(whole) // 2 + 300 :],
        _taller,
    ],
    ids=["zeroed tail", "tail replaced by an end marker", "a piece missing", "a piece zeroed", "50 megapixels claimed"],
)
def test_a_jpeg_whose_pixels_end_early_is_refused(damaged_files, damage):
    whole, _ = damaged_files["sound.jpg"]
    with pytest.raises(ImageError, match="damaged"):
        decode(damage(whole))


def test_a_camera_file_of_two_pictures_whose_pixels_end_early_is_refused(damaged_files):
    whole, _ = damaged_files["sound.jpg"]
    out = io.BytesIO()
    with Image.open(io.BytesIO(whole)) as first:
        first.save(out, "MPO", save_all=True, append_images=[first.copy()], quality=90)
    camera = out.getvalue()
    end = camera.index(b"\xff\xd9")
    with pytest.raises(ImageError, match="damaged"):
        decode(camera[: end - 1500] + b"\xff\xd9" + camera[end + 2 :])


@pytest.mark.parametrize(("height", "width"), [(120, 80), (61, 80), (60, 81)])
def test_a_png_whose_pixels_end_early_is_refused(encoded, height, width):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    content = encoded(noise, "PNG")
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with pytest.raises(ImageError, match="damaged"):
        decode(content[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:])


def test_bytes_are_called_image_and_paths_by_their_name(tmp_path):
    assert name_of(b"") == "image"
    assert name_of(tmp_path / "größe.jpg") == str(tmp_path / "größe.jpg")


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data())
def test_mutated_files_are_shown_or_refused_and_never_anything_else(data):
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    kind = data.draw(st.sampled_from(["JPEG", "PNG"]))
    out = io.BytesIO()
    Image.fromarray(noise).save(out, kind, exif=tagged(6), icc_profile=b"" if kind == "JPEG" else None)
    content = bytearray(out.getvalue())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's words on damaged EXIF
        try:
            assert decode(bytes(content)).ndim == 3
        except ImageError:
            return


def test_a_png_chunk_that_claims_gigabytes_is_refused_before_room_is_made_for_it(monkeypatch):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype="uint8")).save(file, "PNG")
    content = bytearray(file.getvalue())
    place = content.index(b"IDAT") - 4
    content[place : place + 4] = (2_130_711_828).to_bytes(4, "big")
    monkeypatch.setattr("cv2.imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="its pixels end early"):
        ImageSpec(32).load(bytes(content))


def test_an_animated_png_is_refused_and_one_of_a_single_picture_is_not():
    pictures = [Image.new("RGB", (20, 20), colour) for colour in ((10, 200, 30), (90, 0, 30), (0, 0, 0))]
    file, single = io.BytesIO(), io.BytesIO()
    pictures[0].save(file, "PNG", save_all=True, append_images=pictures[1:])
    with pytest.raises(ImageError, match=r"image: an animated PNG of 3 pictures\. Save the one that is meant alone"):
        ImageSpec(8).load(file.getvalue())
    pictures[0].save(single, "PNG", save_all=True)
    assert (ImageSpec(8).load(single.getvalue()) == (10, 200, 30)).all()


def test_bytes_behind_the_end_of_a_png_do_not_matter():
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (10, 200, 30)).save(file, "PNG")
    content = file.getvalue()
    assert (ImageSpec(8).load(content + b"more") == (10, 200, 30)).all()
