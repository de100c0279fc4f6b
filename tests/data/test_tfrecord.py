"""TFRecords against TensorFlow's own writer; torn and damaged files are refused with the byte."""

import struct
from contextlib import suppress

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.containers import locator, read_image_bytes, stored_bytes
from melanomafusion.data.tfrecord import _masked_crc32c, image_offsets, read_examples
from melanomafusion.errors import ImageError

PROPERTY = settings(max_examples=60, deadline=None, database=None)
VALUES = st.one_of(
    st.lists(st.binary(max_size=40), max_size=4),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.lists(st.floats(width=32, allow_nan=False), max_size=4),
)
FEATURES = st.dictionaries(st.text(max_size=6).filter(lambda name: name != "image"), VALUES, max_size=5)


def feature(values):
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if values and isinstance(values[0], float):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))


def example(**values):
    features = {name: feature(value) for name, value in values.items()}
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def write(path, *examples):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in examples:
            writer.write(one)
    return path


def framed(payload):
    """A record by hand, for messages that TensorFlow's writer would not make."""
    length = struct.pack("<Q", len(payload))
    return length + struct.pack("<I", _masked_crc32c(length)) + payload + b"\0\0\0\0"


def message(number, payload):
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def of_feature(content, name=b"f"):
    """An example with one feature whose encoded message is given."""
    return message(1, message(1, message(1, name) + message(2, content)))


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        # RFC 3720, B.4: CRC-32C of 32 bytes of zeros, ones, counting up and down.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_that_of_the_rfc(data, crc):
    assert _masked_crc32c(data) == (((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF


@PROPERTY
@given(st.lists(FEATURES, min_size=1, max_size=4))
def test_examples_are_those_that_tensorflow_wrote(tmp_path_factory, records):
    path = write(tmp_path_factory.mktemp("t") / "a.tfrec", *(example(**record) for record in records))
    assert list(read_examples(path)) == records


def test_images_lie_where_the_offsets_say(tmp_path):
    images = [bytes([k]) * (1 + 1000 * k) for k in range(5)]
    path = write(tmp_path / "a.tfrec", *(example(image=[image], image_name=[b"n"]) for image in images))
    offsets = image_offsets(path)
    assert offsets.dtype == np.int64
    content = path.read_bytes()
    assert [content[start : start + length] for start, length in offsets] == images
    assert [read_image_bytes(locator(path, row)) for row in range(5)] == images
    assert [stored_bytes(locator(path, row)) for row in range(5)] == [len(image) for image in images]
    assert all("image" not in found for found in read_examples(path))


def test_images_are_not_read(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tfrec", example(image=[b"x" * 5_000_000], image_name=[b"n"]))
    taken = []
    real = __import__("mmap").mmap

    class Watched(real):
        def __getitem__(self, item):
            value = super().__getitem__(item)
            taken.append(len(value) if isinstance(value, bytes) else 1)
            return value

    monkeypatch.setattr("melanomafusion.data.tfrecord.mmap.mmap", Watched)
    assert image_offsets(path)[0, 1] == 5_000_000
    assert sum(taken) < 200


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            message(2, bytes([1 << 3 | 5]) + struct.pack("<f", 1.5) + bytes([1 << 3 | 5]) + struct.pack("<f", 2)),
            [1.5, 2],
        ),
        (message(3, bytes([1 << 3, 7, 1 << 3, 0x80, 0x01])), [7, 128]),
        (message(3, bytes([1 << 3]) + b"\xff" * 9 + b"\x01"), [-1]),
        # Packed and unpacked in one list, and a list in two parts.
        (message(3, message(1, b"\x05\x06") + bytes([1 << 3, 7])), [5, 6, 7]),
        (message(3, message(1, b"\x05")) + message(3, message(1, b"\x06")), [5, 6]),
        # Of two kinds the last one counts.
        (message(1, message(1, b"x")) + message(3, message(1, b"\x06")), [6]),
        # Fields that are not known are passed over: a varint, 4 and 8 bytes, and bytes.
        (bytes([9 << 3, 1, 9 << 3 | 5, 0, 0, 0, 0, 9 << 3 | 1]) + b"\xff" * 8 + message(3, message(1, b"\x05")), [5]),
        (b"", []),
    ],
)
def test_other_encodings_of_a_feature_are_read_as_protocol_buffers_does(tmp_path, content, expected):
    payload = of_feature(content)
    golden = tf.train.Example.FromString(payload).features.feature["f"]
    kind = golden.WhichOneof("kind")
    assert list(getattr(golden, kind).value if kind else []) == expected
    (tmp_path / "a.tfrec").write_bytes(framed(payload))
    assert list(read_examples(tmp_path / "a.tfrec")) == [{"f": expected}]


def test_features_in_two_parts_are_one(tmp_path):
    (tmp_path / "a.tfrec").write_bytes(framed(of_feature(b"", b"f") + of_feature(message(3, b"\x08\x01"), b"g")))
    assert list(read_examples(tmp_path / "a.tfrec")) == [{"f": [], "g": [1]}]


# Damaged files


@pytest.fixture
def sound(tmp_path):
    return write(tmp_path / "a.tfrec", *(example(image=[b"jpeg" * 50], image_name=[b"n%d" % k]) for k in range(3)))


def test_a_file_torn_anywhere_is_refused(sound):
    content = sound.read_bytes()
    whole = len(content) // 3
    for length in range(1, len(content)):
        sound.write_bytes(content[:length])
        if length % whole == 0:
            assert len(image_offsets(sound)) == length // whole
            continue
        with pytest.raises(ImageError, match=rf"a\.tfrec: record {length // whole}: .*byte"):
            image_offsets(sound)


def test_a_torn_record_says_where_it_begins_and_what_is_missing(sound):
    content = sound.read_bytes()
    whole = len(content) // 3
    sound.write_bytes(content[:-10])
    with pytest.raises(ImageError, match=f"record 2: begins at byte {2 * whole} and is torn: 10 bytes are missing"):
        list(read_examples(sound))


def test_a_wrong_length_is_refused_with_the_byte(sound):
    content = bytearray(sound.read_bytes())
    whole = len(content) // 3
    content[whole] ^= 1
    sound.write_bytes(content)
    with pytest.raises(ImageError, match=f"record 1: no TFRecord header at byte {whole}: the checksum"):
        image_offsets(sound)


@pytest.mark.parametrize("text", [b"image_name,target\nISIC_0,1\n", b"\xff\xd8\xff\xe0" + bytes(100), b"\0" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path, text):
    (tmp_path / "a.tfrec").write_bytes(text)
    with pytest.raises(ImageError, match="no TFRecord header at byte 0"):
        image_offsets(tmp_path / "a.tfrec")


def test_a_compressed_file_is_refused_with_what_to_do(tmp_path):
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(tmp_path / "a.tfrec"), options) as writer:
        writer.write(example(image=[b"x" * 100]))
    with pytest.raises(ImageError, match="gzip: unpack it"):
        image_offsets(tmp_path / "a.tfrec")


@pytest.mark.parametrize("name", ["missing.tfrec", "empty.tfrec", "."])
def test_a_file_that_is_missing_empty_or_a_folder_is_refused(tmp_path, name):
    (tmp_path / "empty.tfrec").write_bytes(b"")
    with pytest.raises(ImageError, match=r"no such file|is empty|cannot be read"):
        image_offsets(tmp_path / name)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x0a\x05\x0a",  # longer than what holds it
        example(image=[b"x" * 50])[:-10],  # an image that would reach into the next record
        b"\x0b",  # a group: no field of an example
        b"\x80" * 11,  # a number without an end
        b"\x0a",  # a field without its length
        of_feature(message(2, message(1, b"abc"))),  # three bytes of a float
        of_feature(message(3, message(1, b"\x80"))),
        of_feature(message(1, bytes([1 << 3, 1]))),  # a number in a list of bytes
        of_feature(b"", b"\xff\xfe"),
    ],
)
def test_a_damaged_example_is_refused_with_its_record(tmp_path, payload):
    path = tmp_path / "a.tfrec"
    sound = framed(example(image=[b"x"]))
    path.write_bytes(sound + framed(payload) + sound)
    with pytest.raises(ImageError, match=r"a\.tfrec: record 1: "):
        list(read_examples(path))


@pytest.mark.parametrize(
    ("features", "found"),
    [({}, "0 values"), ({"image": [b"a", b"b"]}, "2 values"), ({"image": [7]}, r"1 values .*\(int\)")],
)
def test_an_example_without_exactly_one_image_is_refused(tmp_path, features, found):
    path = write(tmp_path / "a.tfrec", example(image=[b"x"]), example(**features, other=[1]))
    with pytest.raises(ImageError, match=f"record 1 has {found}"):
        image_offsets(path)


@PROPERTY
@given(st.data())
def test_damage_anywhere_is_read_or_refused_and_nothing_else(tmp_path_factory, data):
    content = bytearray(framed(example(image=[b"x" * 20], image_name=[b"n"], sex=[3], age=[4.5])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("t") / "a.tfrec"
    path.write_bytes(content)
    for read in (image_offsets, lambda name: list(read_examples(name))):
        with suppress(ImageError):
            read(path)
