"""`Preparation`: shape, cut, border, colour, encoding, and what it costs to decode at a smaller scale."""

import dataclasses
import io
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from melanomafusion.errors import ImageError
from melanomafusion.images.preparation import Preparation, shades_of_grey
from melanomafusion.testing import paint_lesion

LOSSLESS = Preparation(32, quality=None)
SKIN = (200, 150, 130)


def prepared(image, preparation):
    """The prepared picture as an array."""
    with Image.open(io.BytesIO(preparation.encode(image))) as picture:
        return np.asarray(picture.convert("RGB"))


def waves(height, width):
    y, x = np.mgrid[0:height, 0:width] / 40.0
    return (127.5 + 110 * np.stack([np.sin(3 * x + y), np.cos(2 * y), np.sin(x - y)], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (33, 33), (20, 200), (5, 7)])
@pytest.mark.parametrize("mode", ["resize", "centre-crop"])
def test_squares_have_the_wanted_size_whatever_the_picture(encoded, height, width, mode):
    assert prepared(encoded(waves(height, width)), Preparation(32, mode)).shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("height", "width", "shape"),
    [
        (60, 120, (16, 32)),
        (120, 60, (32, 16)),
        (64, 64, (32, 32)),
        (10, 400, (1, 32)),
        (1, 400, (1, 32)),
        (99, 50, (32, 16)),
    ],
)
def test_longest_side_keeps_the_shape_of_the_picture(encoded, height, width, shape):
    assert prepared(encoded(waves(height, width)), Preparation(32, "longest-side")).shape[:2] == shape


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 120), width=st.integers(1, 120), size=st.integers(8, 100))
def test_longest_side_never_enlarges_and_shrinks_both_sides_alike(height, width, size):
    out = io.BytesIO()
    Image.fromarray(waves(height, width)).save(out, "PNG")
    shown = prepared(out.getvalue(), Preparation(size, "longest-side", quality=None)).shape[:2]
    assert max(shown) == min(size, max(height, width))
    scale = min(1, size / max(height, width))
    assert abs(shown[0] - height * scale) <= 1
    assert abs(shown[1] - width * scale) <= 1
    if max(height, width) <= size:
        assert shown == (height, width)


@pytest.mark.parametrize("shape", [(60, 100), (100, 60)])
def test_centre_crop_cuts_the_two_ends_alike_and_resize_cuts_nothing(encoded, shape):
    picture = np.full((*shape, 3), SKIN, np.uint8)
    longest = int(np.argmax(shape))
    ends = (slice(0, 20), slice(80, 100))
    for end in ends:
        picture[(slice(None), end) if longest else end] = (0, 0, 255)
    cut = prepared(encoded(picture, "PNG"), Preparation(30, "centre-crop", quality=None))
    across = slice(1, -1)  # the filter of the outermost pixels reaches beyond the cut
    assert (cut[:, across] == SKIN).all() if longest else (cut[across] == SKIN).all()
    squeezed = prepared(encoded(picture, "PNG"), Preparation(30, quality=None))
    blue = (squeezed == (0, 0, 255)).all(axis=-1)
    assert blue.all(axis=1 - longest).sum() == pytest.approx(12, abs=2)


@pytest.mark.parametrize("size", [31, 64, 100])
def test_resize_is_the_antialiased_resize_of_pillow(encoded, size):
    picture = waves(90, 130)
    wanted = Image.fromarray(picture).resize((size, size), Image.Resampling.BILINEAR)
    shown = prepared(encoded(picture, "PNG"), Preparation(size, quality=None))
    np.testing.assert_array_equal(shown, np.asarray(wanted))


def test_shrinking_averages_all_pixels(encoded):
    # A chequerboard of black and white is grey where nothing aliases.
    board = np.kron(np.indices((100, 100)).sum(axis=0) % 2, np.ones((1, 1)))[..., None].repeat(3, 2) * 255
    shown = prepared(encoded(board.astype(np.uint8), "PNG"), Preparation(10, quality=None))
    np.testing.assert_allclose(shown, 127.5, atol=3)


@pytest.mark.parametrize("frame", [(10, 20, 30, 40), (0, 25, 0, 0), (25, 25, 25, 25), (1, 0, 0, 1)])
def test_black_borders_are_cut_on_each_side(encoded, frame):
    top, right, bottom, left = frame
    lesion = waves(100, 120) // 2 + 100
    picture = np.pad(lesion, ((top, bottom), (left, right), (0, 0)))
    preparation = Preparation(64, "longest-side", crop_border=True, quality=None)
    np.testing.assert_array_equal(
        prepared(encoded(picture, "PNG"), preparation),
        prepared(encoded(lesion, "PNG"), dataclasses.replace(preparation, crop_border=False)),
    )


def test_noise_of_a_jpeg_file_in_a_black_border_does_not_hold_it(encoded):
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[20:100, 40:120] = SKIN
    noisy = np.maximum(picture, np.random.default_rng(1).integers(0, 24, picture.shape)).astype(np.uint8)
    shown = prepared(encoded(noisy, "PNG"), Preparation(40, crop_border=True, quality=None))
    wanted = Image.fromarray(picture[20:100, 40:120]).resize((40, 40), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(shown, np.asarray(wanted))
    again = prepared(encoded(noisy, quality=80), Preparation(40, crop_border=True, quality=None))
    assert np.abs(again.astype(int) - SKIN)[1:-1, 1:-1].max() < 25


def test_a_round_vignette_is_cut_to_the_circle(encoded):
    y, x = np.mgrid[0:200, 0:300]
    inside = np.hypot(y - 100, x - 150) < 90
    picture = np.where(inside[..., None], SKIN, 0).astype(np.uint8)
    shown = prepared(encoded(picture, "PNG"), Preparation(180, "longest-side", crop_border=True, quality=None))
    # 2 % of 200 rows are lit from 0.02 % of the circle's height on: the box is the circle's, within a few pixels.
    assert 174 <= max(shown.shape[:2]) <= 180
    assert abs(shown.shape[0] - shown.shape[1]) <= 4
    lit = shown.max(axis=-1) > 0
    assert lit.mean() == pytest.approx(np.pi / 4, abs=0.03)


def test_an_all_black_picture_stays_whole(encoded):
    black = np.zeros((50, 70, 3), np.uint8)
    assert prepared(encoded(black), Preparation(70, "longest-side", crop_border=True)).shape == (50, 70, 3)


def test_a_single_lit_pixel_in_the_border_does_not_hold_it(encoded):
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[30:70, 30:70] = SKIN
    picture[3, 5] = picture[95, 50] = 255
    shown = prepared(encoded(picture, "PNG"), Preparation(40, crop_border=True, quality=None))
    assert (shown == SKIN).all()


def test_a_dark_lesion_inside_does_not_split_the_picture(encoded):
    picture = np.full((100, 100, 3), SKIN, np.uint8)
    picture[20:80, 20:80] = 5
    shown = prepared(encoded(picture, "PNG"), Preparation(100, crop_border=True, quality=None))
    np.testing.assert_array_equal(shown, picture)


def test_a_border_of_two_fifths_does_not_cost_resolution(encoded):
    picture = np.zeros((1024, 1024, 3), np.uint8)
    picture[200:820, 200:820] = SKIN
    assert prepared(encoded(picture), Preparation(128, "longest-side", crop_border=True)).shape == (128, 128, 3)


def test_a_wide_border_does_not_cost_resolution(encoded):
    picture = np.zeros((1100, 1100, 3), np.uint8)
    picture[400:640, 400:640] = SKIN
    assert prepared(encoded(picture), Preparation(64, "longest-side", crop_border=True)).shape == (64, 64, 3)


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (1.0, 0.8, 0.6), (0.5, 0.9, 0.7)])
def test_colour_constancy_is_the_published_formula(light):
    # Barata, Celebi, Marques 2015: e_c ∝ (mean of I_c^p)^(1/p), of length 1; I_c becomes I_c / (√3 e_c).
    picture = np.rint(waves(30, 40) * np.array(light)).astype(np.uint8)
    means = [float(sum(int(value) ** 6 for value in picture[..., c].ravel()) / picture[..., c].size) for c in range(3)]
    estimate = [mean ** (1 / 6) for mean in means]
    length = sum(value * value for value in estimate) ** 0.5
    for channel in range(3):
        wanted = picture[..., channel] / (3**0.5 * estimate[channel] / length)
        found = shades_of_grey(picture)[..., channel]
        np.testing.assert_allclose(found, np.minimum(wanted, 255), atol=0.5001)


@settings(max_examples=50, deadline=None)
@given(p=st.integers(1, 12), seed=st.integers(0, 1000), tint=st.tuples(*[st.floats(0.3, 1)] * 3))
def test_after_colour_constancy_the_light_is_grey(p, seed, tint):
    picture = np.rint(np.random.default_rng(seed).integers(20, 120, (20, 20, 1)) * np.array(tint)).astype(np.uint8)
    shown = shades_of_grey(picture, p).astype(float)
    light = np.mean(shown**p, axis=(0, 1)) ** (1 / p)
    assert np.ptp(light) < 1.5


def test_colour_constancy_takes_a_tint_away(encoded):
    grey = waves(60, 60)[..., :1].repeat(3, axis=2) // 2
    tinted = np.rint(grey * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    shown = prepared(encoded(tinted, "PNG"), Preparation(60, colour_constancy=True, quality=None)).astype(int)
    assert np.abs(shown - shown.mean(axis=2, keepdims=True)).max() <= 1
    left_alone = prepared(encoded(tinted, "PNG"), Preparation(60, quality=None))
    np.testing.assert_array_equal(left_alone, tinted)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255), (1, 1, 1)])
def test_pictures_of_one_colour_stay_finite(colour):
    picture = np.full((9, 9, 3), colour, np.uint8)
    shown = shades_of_grey(picture)
    assert shown.dtype == np.uint8
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) == 1
    if len(set(colour)) == 1:
        np.testing.assert_array_equal(shown, picture)


def test_colour_constancy_changes_no_array_it_was_given():
    picture = waves(20, 20)
    before = picture.copy()
    shades_of_grey(picture)
    np.testing.assert_array_equal(picture, before)


def test_lossless_is_the_picture_itself(encoded):
    picture = waves(32, 32)
    np.testing.assert_array_equal(prepared(encoded(picture, "PNG"), LOSSLESS), picture)
    assert LOSSLESS.encode(encoded(picture, "PNG")).startswith(b"\x89PNG")
    assert LOSSLESS.suffix == ".png"


@pytest.mark.parametrize("quality", [1, 50, 95, 100])
def test_jpeg_files_are_those_of_pillow_at_that_quality(encoded, quality):
    picture = waves(48, 48)
    wanted = encoded(picture, quality=quality)
    preparation = Preparation(48, quality=quality)
    assert preparation.encode(encoded(picture, "PNG")) == wanted
    assert preparation.suffix == ".jpg"


def test_quality_trades_bytes_for_truth(encoded):
    picture = paint_lesion(0.0, 96, np.random.default_rng(0))
    source = encoded(picture, "PNG")
    files = [Preparation(96, quality=quality).encode(source) for quality in (20, 60, 95)]
    assert len(files[0]) < len(files[1]) < len(files[2])
    error = [np.abs(np.asarray(Image.open(io.BytesIO(file))).astype(int) - picture).mean() for file in files]
    assert error[0] > error[1] > error[2]


@pytest.mark.parametrize("quality", [95, None])
@pytest.mark.parametrize("mode", ["resize", "centre-crop", "longest-side"])
def test_path_text_and_bytes_give_the_same_bytes_each_time(tmp_path, encoded, mode, quality):
    content = encoded(waves(70, 50), quality=80)
    (tmp_path / "größe 1.jpg").write_bytes(content)
    preparation = Preparation(24, mode, True, True, quality)
    files = {preparation.encode(image) for image in (content, tmp_path / "größe 1.jpg", str(tmp_path / "größe 1.jpg"))}
    assert len(files | {preparation.encode(content)}) == 1


def test_a_comment_in_the_source_is_not_carried_on(encoded):
    content = encoded(waves(40, 40), comment=b"patient 17")
    assert b"patient 17" not in Preparation(16).encode(content)


@pytest.mark.parametrize("quality", [95, None])
def test_exif_text_and_resolution_of_the_source_are_not_carried_on(encoded, quality):
    exif = Image.Exif()
    exif[0x010E] = "patient 17"
    for content in (
        encoded(waves(40, 40), exif=exif, dpi=(300, 300), xmp=b"<x>patient 17</x>"),
        encoded(waves(40, 40), "PNG", exif=exif, dpi=(300, 300)),
    ):
        assert b"patient 17" in content
        written = Preparation(16, quality=quality).encode(content)
        assert b"patient 17" not in written
        with Image.open(io.BytesIO(written)) as opened:
            assert not opened.getexif()
            assert "dpi" not in opened.info


@pytest.mark.parametrize("swapped", [False, True])
def test_no_profile_is_carried_on(encoded, rgb_profile, swapped):
    profile = rgb_profile(order=(2, 1, 0)) if swapped else rgb_profile("sRGB")
    written = LOSSLESS.encode(encoded(waves(40, 40), "PNG", icc_profile=profile))
    with Image.open(io.BytesIO(written)) as opened:
        assert "icc_profile" not in opened.info


@pytest.mark.parametrize("quality", [95, None])
def test_a_prepared_image_has_its_colours_converted_once(encoded, rgb_profile, quality):
    picture = waves(32, 32)
    content = encoded(picture, "PNG", icc_profile=rgb_profile(order=(2, 1, 0)))
    shown = prepared(content, Preparation(32, quality=quality)).astype(int)
    assert np.abs(shown - picture[..., ::-1]).mean() < (2.5 if quality else 1)


def test_the_orientation_is_applied_before_the_cut(encoded):
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = waves(60, 100)
    stored = np.rot90(picture)  # turned by 90° clockwise it is upright again
    for mode in ("resize", "centre-crop", "longest-side"):
        preparation = Preparation(32, mode, quality=None)
        turned = preparation.encode(encoded(np.ascontiguousarray(stored), "PNG", exif=exif))
        assert turned == preparation.encode(encoded(picture, "PNG")), mode


@pytest.mark.parametrize(("side", "size"), [(1300, 256), (1100, 512), (1600, 128)])
def test_scaled_decoding_of_large_lesions_differs_by_less_than_a_grey_level_and_a_half(encoded, side, size):
    lesion = paint_lesion(0.5, side, np.random.default_rng(side))
    content = encoded(lesion, quality=90)
    with Image.open(io.BytesIO(content)) as opened:
        full = opened.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    difference = np.abs(prepared(content, Preparation(size, quality=None)).astype(int) - np.asarray(full))
    assert difference.mean() <= 1.5
    # Encoded again it stays near.
    again = np.abs(prepared(content, Preparation(size)).astype(int) - np.asarray(full))
    assert again.mean() <= 1.5


def test_all_bad_values_are_named_at_once():
    with pytest.raises(ImageError) as error:
        Preparation(7, "cut", 1, None, 101)
    for part in ("8 to 4096. Received: 7", "'cut'", "crop_border", "colour_constancy", "Received: 101"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    "values",
    [{"size": 4097}, {"size": 32.0}, {"size": True}, {"size": float("nan")}, {"mode": None}, {"quality": 0},
     {"quality": 95.0}, {"quality": True}, {"crop_border": "yes"}, {"colour_constancy": 1}],
)  # fmt: skip
def test_impossible_values_are_refused(values):
    with pytest.raises(ImageError, match="Received"):
        Preparation(**values)


def test_plain_values_go_there_and_back():
    preparation = Preparation(300, "centre-crop", True, True, None)
    assert Preparation.from_dict(preparation.to_dict()) == preparation
    assert hash(preparation) == hash(dataclasses.replace(preparation))


@pytest.mark.parametrize("content", [None, [], {}, {"size": 32}, {**LOSSLESS.to_dict(), "sharpen": True}, "text"])
def test_plain_values_of_another_version_are_refused(content):
    with pytest.raises(ImageError, match="Not a preparation this version knows"):
        Preparation.from_dict(content)


def test_damaged_files_are_refused_with_a_reason_and_odd_ones_converted(tmp_path, damaged_files):
    for name, (content, sound) in damaged_files.items():
        path = tmp_path / name
        path.write_bytes(content)
        if sound:
            assert prepared(path, LOSSLESS).shape == (32, 32, 3)
            continue
        with pytest.raises(ImageError, match=re.escape(str(path)) + ".{10}"):
            LOSSLESS.encode(path)


def test_a_picture_of_one_pixel_is_prepared(encoded):
    assert prepared(encoded(np.full((1, 1, 3), SKIN, np.uint8), "PNG"), LOSSLESS).tolist() == [[list(SKIN)] * 32] * 32


def test_png_is_compressed(encoded):
    black = np.zeros((512, 512, 3), np.uint8)
    written = Preparation(512, quality=None).encode(encoded(black, "PNG"))
    assert len(written) < len(zlib.compress(black.tobytes(), 1))
