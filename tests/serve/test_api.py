"""The JSON API: the predictor's scores, and a clear refusal for everything that is not an image and its metadata."""

import base64
import io
import threading
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from matplotlib import colormaps
from PIL import Image

from melanomafusion.deploy.predictor import Predictor
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.serve.app import build_app
from melanomafusion.serve.uploads import MAX_BYTES

FIELDS = {"sex": "female", "age_approx": "45", "anatom_site_general_challenge": "torso"}
URL = "/api/v1/predict"


def sent(client, content, **fields):
    return client.post(URL, files={"image": ("lesion.jpg", content, "image/jpeg")}, data=fields)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino", "keras"])
def test_the_score_is_that_of_the_predictor_whatever_computes(client, ensemble_bundle, jpeg, engine):
    expected = Predictor(ensemble_bundle, engine=engine).predict(jpeg, sex="female", age_approx=45)
    found = sent(client, Path(jpeg).read_bytes(), sex="female", age_approx="45").json()
    assert found["score"] == pytest.approx(expected.score, abs=1e-5)
    assert found["probability"] == (
        None if expected.probability is None else pytest.approx(expected.probability, abs=1e-5)
    )
    assert found["threshold"] == expected.threshold
    assert found["notice"] == NOT_A_MEDICAL_DEVICE
    assert found["fields"] == {"sex": "female", "age_approx": 45.0, "anatom_site_general_challenge": None}
    assert list(found["members"]) == ["fold-0", "fold-1"]


def test_metadata_are_read_as_everywhere_else_and_may_be_left_out(client, painted):
    content = painted()
    assert sent(client, content, sex="F").json()["fields"]["sex"] == "female"
    for blank in ("", "  ", "unknown"):
        assert sent(client, content, sex=blank).json()["fields"]["sex"] is None
    assert sent(client, content).json()["score"] == sent(client, content, **dict.fromkeys(FIELDS, "")).json()["score"]
    assert sent(client, content, **FIELDS).json()["score"] != sent(client, content).json()["score"]


def test_the_heat_map_comes_when_asked_for(client, predictor, painted):
    content = painted()
    assert sent(client, content).json()["heatmap"] is None
    png = base64.b64decode(sent(client, content, heatmap="true").json()["heatmap"])
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
    heatmap = predictor.predict(content, heatmap=True).heatmap
    assert shown.shape == (*heatmap.shape, 4)
    np.testing.assert_allclose(shown[..., 3], heatmap * 255 * 0.75, atol=2)
    np.testing.assert_allclose(shown[..., :3], colormaps["inferno"](heatmap)[..., :3] * 255, atol=6)


def test_what_is_served_is_told(client, predictor, ensemble_bundle):
    found = client.get("/api/v1/model").json()
    assert found["recipe"] == "tiny"
    assert found["models"] == 2
    assert found["image_size"] == 32
    assert found["fields"] == list(FIELDS)
    assert found["auc"][0] == predictor.metrics["auc"]["estimate"]
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"hello", 415, "not a JPEG or PNG"),
        (b"GIF89a" + b"\0" * 50, 415, "not a JPEG or PNG"),
        (b"\xff\xd8\xff" + b"\0" * 50, 422, "cannot be used"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, 422, "cannot be used"),
        (b"\xff\xd8\xff" + b"\0" * MAX_BYTES, 413, "more than 10 MB"),
    ],
    ids=["text", "gif", "broken jpeg", "broken png", "too long"],
)
def test_what_is_no_picture_is_refused(client, content, status, message):
    answer = sent(client, content)
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert list(answer.json()) == ["error"]


def test_an_image_that_ends_early_is_refused(client, painted):
    for kind in ("JPEG", "PNG"):
        content = painted((400, 300), kind)
        answer = sent(client, content[: len(content) // 2])
        assert answer.status_code == 422
        assert "damaged" in answer.json()["error"]


def test_too_many_pixels_are_refused_from_the_header_alone(client, painted):
    content = bytearray(painted((64, 64), "PNG"))
    content[16:24] = (30_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big")
    from zlib import crc32

    content[29:33] = crc32(content[12:29]).to_bytes(4, "big")
    answer = sent(client, bytes(content))
    assert answer.status_code in (413, 422)
    assert "30,000 × 30,000" in answer.json()["error"] or "refused" in answer.json()["error"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sex": "blue"}, "sex 'blue'; expected one of female, male"),
        ({"age_approx": "-3"}, "age_approx '-3'"),
        ({"age_approx": "x" * 101}, "age_approx: not as expected"),
        ({"heatmap": "perhaps"}, "heatmap: not as expected"),
    ],
)
def test_fields_that_cannot_be_meant_are_refused(client, painted, fields, message):
    answer = sent(client, painted(), **fields)
    assert answer.status_code == 422
    assert message in answer.json()["error"]


def test_a_field_that_nobody_reads_is_refused_rather_than_left_out_of_the_score(client, painted):
    answer = sent(client, painted(), sex="female", age="45", **{"<b>" * 100: "x"})
    assert answer.status_code == 422
    assert "There is no field 'age', '<b><b>" in answer.json()["error"]
    assert "age_approx" in answer.json()["error"]
    assert len(answer.json()["error"]) < 250
    in_the_address = client.post(f"{URL}?sex=female", files={"image": ("lesion.jpg", painted(), "image/jpeg")})
    assert in_the_address.status_code == 422
    assert "'sex' (in the address)" in in_the_address.json()["error"]
    page = client.post("/", files={"image": ("lesion.jpg", painted(), "image/jpeg")}, data={"<b>age</b>": "45"})
    assert page.status_code == 422
    assert "&lt;b&gt;age" in page.text
    assert "<b>age" not in page.text


def test_a_field_given_twice_and_many_unknown_ones_are_refused_in_short(client, painted):
    answer = sent(client, painted(), sex=["female", "male"])
    assert answer.status_code == 422
    assert answer.json()["error"] == "sex: given more than once."
    many = sent(client, painted(), **{f"field{number}": "x" for number in range(300)})
    assert many.status_code == 422
    assert "and 295 more" in many.json()["error"]


def test_without_an_image_or_with_text_for_one_it_is_refused(client):
    assert "There is no image" in client.post(URL).json()["error"]
    answer = client.post(URL, data={"image": "lesion.jpg"})
    assert answer.status_code == 422
    assert "image: not as expected" in answer.json()["error"]
    answer = client.post(URL, content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"})
    assert answer.status_code in (400, 422)


def test_the_bytes_are_counted_while_they_come_whatever_the_header_says(client):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n'
        for _ in range(12):
            yield b"\xff" * 2**20

    answer = client.post(URL, content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413
    assert "more than 10 MB" in answer.json()["error"]


def test_requests_for_another_host_are_refused(client):
    assert client.get("/healthz", headers={"host": "example.org"}).status_code == 400
    assert client.get("/healthz", headers={"host": "localhost:8000"}).status_code == 200


def test_every_answer_forbids_foreign_content_and_keeping(client, painted):
    for answer in (client.get("/"), client.get("/nowhere"), sent(client, painted()), sent(client, b"x")):
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_unknown_path_or_method_is_told(client):
    assert client.get("/api/v1/nothing").json() == {"error": "Not Found"}
    assert client.get(URL).json() == {"error": "Method Not Allowed"}
    assert "Not Found" in client.get("/nothing").text


def test_when_slots_and_queue_are_full_the_next_is_told_when_to_come(predictor, painted, monkeypatch):
    free = threading.Event()
    predict = Predictor.predict

    def slow(self, *arguments, **options):
        free.wait(30)
        return predict(self, *arguments, **options)

    monkeypatch.setattr(Predictor, "predict", slow)
    app = build_app(predictor, slots=1)
    content = painted()
    with TestClient(app, base_url="http://127.0.0.1") as client:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(sent(client, content))) for _ in range(14)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + 20
        while len(answers) < 5 and time.monotonic() < end:
            time.sleep(0.01)
        refused = list(answers)
        free.set()
        for thread in threads:
            thread.join()
        assert sent(client, content).status_code == 200  # the slots were given back
    assert [answer.status_code for answer in refused] == [503] * 5  # one worked on, eight waiting
    assert all(answer.headers["retry-after"] == "2" for answer in refused)
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [503] * 5


def test_something_gone_wrong_is_told_without_its_trace(predictor, painted, monkeypatch):
    def broken(self, *arguments, **options):
        raise RuntimeError("secret")

    monkeypatch.setattr(Predictor, "predict", broken)
    with TestClient(build_app(predictor), base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = sent(client, painted())
    assert answer.status_code == 500
    assert answer.json() == {"error": "Something went wrong here. Nothing was stored."}


def test_prometheus_gets_counts_by_known_paths_alone(client, painted):
    sent(client, painted())
    for number in range(5):
        client.get(f"/nothing-{number}")
    text = client.get("/metrics").text
    assert 'melanomafusion_requests_total{path="/api/v1/predict",status="200"}' in text
    assert "nothing-" not in text
    assert "melanomafusion_slots_taken 0.0" in text


def test_an_upload_is_not_spooled_to_disk(client, painted, monkeypatch):
    def spool(*_):
        raise AssertionError("written to disk")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", spool)
    content = painted((3000, 2400), quality=100)
    assert len(content) > 1.5 * 2**20
    assert sent(client, content).status_code == 200


def test_metadata_alone_are_scored_by_a_model_that_looks_at_no_image(folded, tmp_path, painted):
    import melanomafusion as mf

    mf.fit_fold(mf.get_recipe("metadata-tiny").replace(epochs=1), folded, 0, out=tmp_path / "fold-0")
    predictor = Predictor(tmp_path)
    with TestClient(build_app(predictor), base_url="http://localhost") as client:
        assert 0 < client.post(URL, data={"sex": "male"}).json()["score"] < 1
        assert "looks at no image" in sent(client, painted()).json()["error"]
        assert 'type="file"' not in client.get("/").text
        assert client.post("/", data={"sex": "male"}).status_code == 200


def test_raw_file_prepared_shard_and_upload_have_one_score(folded, tmp_path):
    """A model trained on shards: the raw file, uploaded, is scored as its row in the shard."""
    import melanomafusion as mf
    from melanomafusion.images.prepare import prepare
    from melanomafusion.images.prepared import load_prepared

    prepare(folded, tmp_path / "prepared", image_size=48)
    shards = mf.assign_folds(load_prepared(tmp_path / "prepared"), 2)
    mf.fit_fold(mf.get_recipe("tiny").replace(epochs=1, tta=1), shards, 0, out=tmp_path / "fold-0")
    predictor = Predictor(tmp_path / "fold-0" / "bundle")
    row = shards.frame.iloc[3]
    raw = folded.frame.set_index("image_name").loc[row["image_name"], "path"]
    with TestClient(build_app(predictor), base_url="http://localhost") as client:
        found = sent(client, Path(raw).read_bytes()).json()["score"]
    expected = predictor.predict(row["path"]).score
    assert found == pytest.approx(expected, abs=1e-6)


def test_clients_that_leave_do_not_take_slots_for_ever(predictor, painted):
    import asyncio

    app = build_app(predictor, slots=1)
    transport = httpx2.ASGITransport(app=app)

    async def leave():
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            files = {"image": ("a.jpg", painted(), "image/jpeg")}
            for _ in range(12):
                task = asyncio.create_task(client.post(URL, files=files))
                await asyncio.sleep(0.005)
                task.cancel()
            await asyncio.sleep(0.5)
            return (await client.post(URL, files=files)).status_code

    assert asyncio.run(leave()) == 200


def test_an_image_may_be_large_and_turned(client, predictor):
    from PIL import Image

    import melanomafusion.testing  # noqa: F401

    upright = Image.fromarray(np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype="uint8")).resize((2048, 1536))
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.rotate(90, expand=True).save(file, "JPEG", quality=95, exif=exif)
    plain = io.BytesIO()
    upright.save(plain, "JPEG", quality=95)
    turned, straight = (sent(client, f.getvalue()).json()["score"] for f in (file, plain))
    assert turned == pytest.approx(straight, abs=5e-3)
