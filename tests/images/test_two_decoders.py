"""Pillow, which serves, and TensorFlow's own decoder give the same pixels of a prepared image, to the grey level.

So a shard can be read by a tf.data pipeline of one's own. TensorFlow must be told `dct_method="INTEGER_ACCURATE"`; its
default is a faster, rougher transform (libjpeg's JDCT_IFAST), a grey level off on average.
"""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from melanomafusion.images.preparation import Preparation
from melanomafusion.images.prepare import prepare
from melanomafusion.images.prepared import load_prepared
from melanomafusion.images.spec import ImageSpec
from melanomafusion.testing import paint_lesion

TOLERANCE = 0  # grey levels
ORIENTATION = 0x0112
KINDS = ("baseline", "progressive", "grey", "rotated", "png", "subsampled", "restart markers")


def raw_file(kind, picture, quality, orientation):
    """The bytes of a raw file of that kind."""
    options = {"quality": quality}
    image, name = Image.fromarray(picture), "JPEG"
    if kind == "progressive":
        options["progressive"] = True
    elif kind == "grey":
        image = image.convert("L")
    elif kind == "rotated":
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = orientation
    elif kind == "png":
        name, options = "PNG", {}
    elif kind == "subsampled":
        options["subsampling"] = "4:4:4"
    elif kind == "restart markers":
        options["restart_marker_rows"] = 1
    out = io.BytesIO()
    image.save(out, name, **options)
    return out.getvalue()


def by_tensorflow(content):
    """(H, W, 3) int, decoded by TensorFlow alone."""
    if content.startswith(b"\x89PNG"):
        return tf.io.decode_png(content, channels=3).numpy().astype(int)
    return tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy().astype(int)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(8, 48),
    mode=st.sampled_from(["resize", "centre-crop", "longest-side"]),
    constancy=st.booleans(),
    quality=st.sampled_from([None, 50, 95]),
    orientation=st.integers(1, 8),
    lesion=st.booleans(),
    seed=st.integers(0, 99),
)
def test_serving_and_training_see_the_same_pixels(
    tmp_path_factory, make_dataset, in_process, kind, height, width, size, mode, constancy, quality, orientation,
    lesion, seed,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if lesion:
        picture = paint_lesion(0.5, max(height, width), rng)[:height, :width]
    raw = raw_file(kind, picture, 85, orientation)
    folder = tmp_path_factory.mktemp("one")
    data = make_dataset(folder / "raw", {"a.jpg": raw})
    options = {"mode": mode, "colour_constancy": constancy, "quality": quality}
    prepare(data, folder / "out", image_size=size, **options)
    in_shard = load_prepared(folder / "out").frame["path"][0]
    preparation = Preparation(size, mode, False, constancy, quality)
    served = ImageSpec(size, preparation).load(folder / "raw" / "a.jpg")
    np.testing.assert_array_equal(ImageSpec(size, preparation).load(in_shard), served)
    # A smaller tensor from the same shard.
    smaller = ImageSpec(8, preparation)
    np.testing.assert_array_equal(smaller.load(in_shard), smaller.load(raw))
    content = preparation.encode(raw)
    trained = by_tensorflow(content)
    if trained.shape[:2] == (size, size):
        assert np.abs(trained - served).max() <= TOLERANCE
    else:
        with Image.open(io.BytesIO(content)) as picture:
            assert np.abs(trained - np.asarray(picture.convert("RGB"), dtype=int)).max() <= TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_is_seen_alike(tmp_path, make_dataset, in_process, kind):
    pictures = [paint_lesion(0.5, 200, np.random.default_rng(seed))[:150] for seed in range(8)]
    files = {f"i{row}.jpg": raw_file(kind, picture, 90, row + 1) for row, picture in enumerate(pictures)}
    data = make_dataset(tmp_path / "raw", files)
    for quality in (95, None):
        out = tmp_path / f"out{quality}"
        prepare(data, out, image_size=64, quality=quality, shard_size=3)
        spec = ImageSpec(64, Preparation(64, quality=quality))
        for raw, path in zip(data.frame["path"], load_prepared(out).frame["path"], strict=True):
            served = spec.load(raw)
            np.testing.assert_array_equal(spec.load(path), served)
            assert np.abs(by_tensorflow(spec.prepared.encode(raw)) - served).max() <= TOLERANCE


def test_tensorflow_with_its_default_transform_stays_within_two_grey_levels_on_average():
    lesion = paint_lesion(0.5, 256, np.random.default_rng(0))
    content = Preparation(256).encode(raw_file("png", lesion, None, 1))
    rough = tf.io.decode_jpeg(content, channels=3).numpy().astype(int)
    difference = np.abs(rough - ImageSpec(256, Preparation(256)).load(content))
    assert 0 < difference.mean() < 2
