"""Copies are found however they were written; other pictures, even alike in the large, are not."""

import numpy as np
import pytest
from PIL import Image

from melanomafusion.auditing.hashes import hash_images
from melanomafusion.auditing.near import compare_pairs, exact_pairs, near_pairs
from melanomafusion.auditing.second_look import coarse_similarity, detail_similarity
from melanomafusion.testing import paint_lesion

COPIES = {
    "quality 40": lambda image, save: save(image, quality=40),
    "half size": lambda image, save: save(image.resize((image.width // 2, image.height // 2), Image.BILINEAR)),
    "brighter": lambda image, save: save(image.point(lambda value: min(255, int(value * 1.1)))),
    "cropped": lambda image, save: save(image.crop((3, 3, image.width - 3, image.height - 3))),
    "mirrored": lambda image, save: save(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
    "rotated": lambda image, save: save(image.transpose(Image.Transpose.ROTATE_90), quality=60),
    "transposed": lambda image, save: save(image.transpose(Image.Transpose.TRANSVERSE)),
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_among_others(how, skin, write, tmp_path):
    paths = [write(f"{seed}.jpg", skin(seed, 160)) for seed in range(12)]
    with Image.open(paths[4]) as image:
        COPIES[how](image, lambda picture, **options: picture.save(tmp_path / "copy.jpg", **options))
    paths.insert(9, str(tmp_path / "copy.jpg"))
    hashes = hash_images([str(i) for i in range(len(paths))], paths)
    i, j = near_pairs(hashes)
    assert (i.tolist(), j.tolist()) == ([4], [9])
    distance, similarity, turned = compare_pairs(hashes, i, j)
    assert distance[0] <= 64
    assert similarity[0] > 0.8
    assert turned[0] == (how in ("mirrored", "rotated", "transposed"))
    assert not len(exact_pairs(hashes)[0])


def test_spots_on_plain_skin_are_no_copies(write):
    rng = np.random.default_rng(0)
    paths = [write(f"{i}.jpg", paint_lesion(rng.normal(), 64, rng)) for i in range(150)]
    assert not len(near_pairs(hash_images([str(i) for i in range(150)], paths))[0])


def test_byte_identical_images_are_paired_with_the_first_and_not_near(skin, write):
    a, b = write("a.jpg", skin(0)), write("b.jpg", skin(1))
    hashes = hash_images(list("012345"), [b, a, b, a, a, "absent.jpg"])
    i, j = exact_pairs(hashes)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 2), (1, 3), (1, 4)]
    assert not len(near_pairs(hashes)[0])


def test_unreadable_images_are_copies_of_nothing(tmp_path):
    paths = [str(tmp_path / f"{i}.jpg") for i in range(3)]
    hashes = hash_images(list("abc"), paths)
    assert not len(exact_pairs(hashes)[0])
    assert not len(near_pairs(hashes)[0])
    distance, similarity, turned = compare_pairs(hashes, np.array([0]), np.array([1]))
    assert np.isnan(distance[0])
    assert np.isnan(similarity[0])
    assert not turned[0]


def test_max_distance_bounds_what_is_found(skin, write):
    paths = [write("a.jpg", skin(0)), write("b.jpg", skin(0)[2:-2, 2:-2])]
    hashes = hash_images(list("ab"), paths)
    distance = compare_pairs(hashes, np.array([0]), np.array([1]))[0][0]
    assert len(near_pairs(hashes, int(distance))[0]) == 1
    assert not len(near_pairs(hashes, int(distance) - 2)[0])


def test_turned_copies_are_held_to_half_the_distance(skin, write):
    found, distances = [], []
    for edge in range(1, 9):
        paths = [write("a.png", skin(5, 160)), write("b.png", skin(5, 160)[edge:-edge, edge:-edge][::-1])]
        hashes = hash_images(list("ab"), paths)
        found.append(len(near_pairs(hashes)[0]))
        distances.append(compare_pairs(hashes, np.array([0]), np.array([1]))[0][0])
    assert found == [int(distance <= 32) for distance in distances]
    assert any(32 < distance <= 64 for distance in distances)


def test_hundreds_of_copies_are_connected_without_looking_at_every_pair(skin, write):
    paths = []
    for number in range(60):
        picture = skin(0, 64)
        picture[0, 0] = number
        paths.append(write(f"{number}.png", picture))
    i, j = near_pairs(hash_images([str(number) for number in range(60)], paths))
    assert 59 <= len(i) < 60 * 59 / 4
    connected = {0}
    for _ in range(60):
        connected |= {b for a, b in zip(i, j, strict=True) if a in connected}
    assert len(connected) == 60


def grey(pixels):
    return np.asarray(Image.fromarray(pixels).convert("L").resize((64, 64)))[None]


def test_details_match_after_a_shift_or_a_crop_and_only_then(skin):
    picture = grey(skin(0, 64))
    assert detail_similarity(picture, picture)[0] == pytest.approx(1, abs=1e-5)
    wide = skin(0, 80)[..., 0]
    assert detail_similarity(wide[None, 4:68, 4:68], wide[None, 8:72, 1:65])[0] > 0.8
    assert detail_similarity(wide[None, :64, :64], wide[None, 14:78, 14:78])[0] < 0.5  # further than copies are shifted
    zoomed = np.asarray(Image.fromarray(picture[0]).resize((64, 64), Image.BILINEAR, box=(3.2, 3.2, 60.8, 60.8)))[None]
    assert detail_similarity(picture, zoomed)[0] > 0.85
    assert detail_similarity(zoomed, picture)[0] > 0.85
    assert detail_similarity(picture, grey(skin(1, 64)))[0] < 0.5


def test_a_picture_of_one_colour_is_like_nothing(skin):
    flat = np.full((1, 64, 64), 7, dtype=np.uint8)
    assert detail_similarity(flat, grey(skin(0, 64)))[0] == coarse_similarity(flat, flat)[0] == 0


def test_coarse_similarity_is_the_correlation_of_quarter_size_pictures(skin):
    one, other = grey(skin(0, 64)), grey(skin(1, 64))
    small = [p[0].reshape(16, 4, 16, 4).mean((1, 3)).ravel() for p in (one, other)]
    assert coarse_similarity(one, other)[0] == pytest.approx(np.corrcoef(*small)[0, 1], abs=1e-4)
