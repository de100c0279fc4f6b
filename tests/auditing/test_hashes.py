"""What is kept of each image, compared with Pillow, hashlib and ImageHash themselves."""

import hashlib
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from melanomafusion.auditing.hamming import pack_bits
from melanomafusion.auditing.hashes import dihedral_views, hash_images


def phash_words(image):
    return pack_bits(imagehash.phash(image, hash_size=16).hash.ravel())


def test_the_hash_is_imagehash_phash_of_the_picture_and_its_seven_views(skin, write):
    path = write("a.png", skin(0, 64))
    hashes = hash_images(["a"], [path])
    with Image.open(path) as image:
        assert np.array_equal(hashes.words[0, 0], phash_words(image))
        grey = image.convert("L")
    turns = [None, *Image.Transpose]
    expected = {phash_words(grey if turn is None else grey.transpose(turn)).tobytes() for turn in turns}
    assert {words.tobytes() for words in hashes.words[0]} == expected
    assert len(expected) == 8


def test_size_bytes_and_digest_are_those_of_the_file(skin, write):
    path = write("a.jpg", skin(1, 80)[:60])
    hashes = hash_images(["a"], [path])
    content = Path(path).read_bytes()
    assert (hashes.width[0], hashes.height[0], hashes.file_bytes[0]) == (80, 60, len(content))
    assert hashes.sha256[0] == hashlib.sha256(content).hexdigest()
    assert hashes.hashed[0]
    assert hashes.problems.empty


def test_what_cannot_be_read_is_listed_and_the_rest_hashed(skin, write, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    torn = Path(write("torn.jpg", skin(2)))
    torn.write_bytes(torn.read_bytes()[:400])
    paths = [
        write("good.jpg", skin(3)),
        str(tmp_path / "text.jpg"),
        str(tmp_path / "empty.jpg"),
        str(torn),
        str(tmp_path / "absent.jpg"),
        str(tmp_path),
        "null\0.jpg",
        write("blank.jpg", np.full((40, 40, 3), 90, dtype=np.uint8)),
    ]
    names = [f"n{i}" for i in range(len(paths))]
    hashes = hash_images(names, paths)
    assert hashes.hashed.tolist() == [True] + [False] * 7
    assert hashes.problems["image_name"].tolist() == names[1:]
    told = hashes.problems["problem"]
    assert "not a JPEG" in told[0]
    assert "damaged" in told[2]
    assert "no such file" in told[3]
    assert "one colour" in told[6]
    assert not told.str.startswith(("image", ":", "/")).any()
    assert [digest is None for digest in hashes.sha256] == [False, False, False, False, True, True, True, False]


def test_progress_ends_at_all_images(skin, write):
    events = []
    hash_images([str(i) for i in range(17)], [write("a.jpg", skin(0))] * 17, events.append)
    assert [(event["done"], event["total"]) for event in events] == [(16, 17), (17, 17)]


def test_stopping_from_the_keyboard_stops_reading(skin, write):
    def stop(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hash_images([str(i) for i in range(40)], [write("a.jpg", skin(0))] * 40, stop)


def test_the_views_are_the_eight_of_the_square():
    picture = np.arange(9).reshape(3, 3)
    by_rotation = [np.rot90(p, k) for p in (picture, picture.T) for k in range(4)]
    views = dihedral_views(picture)
    assert np.array_equal(views[0], picture)
    assert {view.tobytes() for view in map(np.ascontiguousarray, views)} == {
        np.ascontiguousarray(p).tobytes() for p in by_rotation
    }


def test_no_images_are_no_error():
    assert len(hash_images([], [])) == 0
