"""The upload guard against 500 damaged, mutated and odd files: an answer each, never a 5xx.

`.ci/upload_guard.py` sends 20,000 and measures time and memory.
"""

import io
import random

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from melanomafusion.serve.uploads import MAX_BYTES, UploadError, check_upload


def originals(painted):
    """Sound files of many kinds."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype="uint8"))
    files = [painted(), painted(kind="PNG"), painted(progressive=True), painted((9, 700)), painted((33, 8), "PNG")]
    for mode in ("L", "P", "1", "CMYK", "RGBA", "LA", "I;16"):
        file = io.BytesIO()
        kind = "JPEG" if mode == "CMYK" else "PNG"
        image = noise.convert("L").convert("I;16") if mode == "I;16" else noise.convert(mode)
        if mode.endswith("A"):
            image.putalpha(128)
        image.save(file, kind)
        files.append(file.getvalue())
    notes = PngImagePlugin.PngInfo()
    notes.add_text("comment", "x" * 5000, zip=True)
    file = io.BytesIO()
    noise.save(file, "PNG", pnginfo=notes)
    return [*files, file.getvalue()]


def mutated(files, count, seed=0):
    """Bytes flipped, cut, doubled, moved, or put together of two."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(files))
        for _ in range(chance.choice((0, 1, 1, 2, 4, 8))):
            if not data:
                break
            place = min(int(chance.expovariate(3 / len(data))), len(data) - 1)
            how = chance.randrange(6)
            if how == 0:
                data[place] ^= 1 << chance.randrange(8)
            elif how == 1:
                data[place] = chance.choice((0, 255, 127, 128))
            elif how == 2:
                del data[place : place + chance.randint(1, 64)]
            elif how == 3:
                data[place:place] = data[place : place + chance.randint(1, 64)]
            elif how == 4:
                data = data[: place + 1]
            else:
                other = chance.choice(files)
                data[place:] = other[min(place, len(other)) :]
        yield bytes(data)


def test_500_mutated_files_get_an_answer_each(client, painted):
    statuses = {}
    for content in mutated(originals(painted), 500):
        path = "/" if len(content) % 5 == 0 else "/api/v1/predict"
        answer = client.post(path, files={"image": ("a.jpg", content, "image/jpeg")})
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        assert answer.status_code in (200, 413, 415, 422), content[:50]
        assert "Traceback" not in answer.text
    assert set(statuses) >= {200, 415, 422}  # mutations of every weight


def test_every_sound_file_is_scored_or_refused_with_its_reason(client, painted):
    found = [client.post("/api/v1/predict", files={"image": ("a", content)}) for content in originals(painted)]
    assert [answer.status_code for answer in found].count(200) >= 8
    reasons = " ".join(answer.json()["error"] for answer in found if answer.status_code != 200)
    for part in ("CMYK", "transparent", "16 bits"):
        assert part in reasons


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff" * 99])
def test_what_cannot_be_opened_is_refused(content):
    with pytest.raises(UploadError) as refused:
        check_upload(content)
    assert refused.value.status in (415, 422)


def test_the_limit_of_bytes_is_exact(painted):
    content = painted()
    check_upload(content + b"\0" * (MAX_BYTES - len(content)))
    with pytest.raises(UploadError, match="more than 10 MB"):
        check_upload(content + b"\0" * (MAX_BYTES - len(content) + 1))
