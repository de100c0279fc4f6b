"""Page, text report and PDF: they say what the predictor says, and whatever a stranger writes stays text."""

import base64
import dataclasses
import html
import io
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pypdf
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from melanomafusion.deploy.card import model_card
from melanomafusion.deploy.ensemble_bundle import EnsembleBundle
from melanomafusion.deploy.predictor import Predictor
from melanomafusion.deploy.sums import write_sums
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.serve.answer import answer
from melanomafusion.serve.app import build_app
from melanomafusion.serve.pdf import report_pdf
from melanomafusion.serve.report import as_text

# Markup, scripts, templates, formulas, paths, controls, right-to-left, long words: what strangers write.
INJECTIONS = [
    f"{before}{text}"
    for text in (
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "'><svg onload=alert(1)>",
        "</title><b>x",
        "</textarea>x",
        "javascript:alert(1)",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "${7*7}",
        "#{7*7}",
        "&lt;b&gt;&amp;",
        "=1+1",
        "+cmd|' /C calc'!A0",
        "@SUM(1)",
        "../../etc/passwd",
        "%2e%2e%2f",
        "<para>x</para>",
        "<font size=99>x</font>",
        "[x](http://example.org)",
        "'; DROP TABLE x; --",
        "$(id)",
        "`id`",
        "a\\b\\n",
        "<!-- x -->",
        "]]>",
    )
    for before in ("", "é", "Ж ", "a")
]
assert len(INJECTIONS) == 100


def posted(client, content, **fields):
    return client.post("/", files={"image": ("lesion.jpg", content, "image/jpeg")}, data=fields)


def attached(page, name):
    """Bytes behind a download link."""
    return base64.b64decode(re.search(rf'id="{name}"[^>]*base64,([^"]*)"', page).group(1))


def pdf_text(content):
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)


def squeezed(text):
    return "".join(text.split())


@pytest.fixture(scope="module")
def page(client, jpeg):
    answer = posted(client, Path(jpeg).read_bytes(), sex="female", age_approx="45")
    assert answer.status_code == 200
    return answer.text


def test_the_form_asks_for_an_image_and_each_field_that_the_model_looks_at(client, predictor):
    text = client.get("/").text
    assert 'type="file"' in text
    for name in predictor.fields:
        assert f'name="{name}"' in text
    assert NOT_A_MEDICAL_DEVICE in text
    assert f"AUC {predictor.metrics['auc']['estimate']:.3f}" in text


def test_the_page_gives_the_predictors_score_and_what_it_means(page, predictor, jpeg):
    expected = predictor.predict(jpeg, sex="female", age_approx=45)
    assert f'<span id="score">{expected.score:.3f}</span>' in page
    assert f"{100 * expected.probability:.1f} %" in page
    side = "at or above" if expected.above_threshold else "below"
    assert f"{side} the threshold" in page
    assert "of 100 positive images" in page
    assert NOT_A_MEDICAL_DEVICE in page
    assert "45 years" in page
    for name, value in expected.members.items():
        assert f"{name}</th><td>{value:.3f}" in page


def test_both_reports_say_the_same(page, predictor, jpeg):
    expected = predictor.predict(jpeg, sex="female", age_approx=45)
    text, pdf = attached(page, "text").decode("utf-8"), pdf_text(attached(page, "pdf"))
    for part in (
        f"{expected.score:.3f}",
        f"{100 * expected.probability:.1f} %",
        "female",
        "45 years",
        "not given",
        NOT_A_MEDICAL_DEVICE,
        f"AUC {predictor.metrics['auc']['estimate']:.3f}",
        "fold-1",
        " UTC",
    ):
        assert part in text
        assert squeezed(part) in squeezed(pdf)
    images = [image for page in pypdf.PdfReader(io.BytesIO(attached(page, "pdf"))).pages for image in page.images]
    assert len(images) >= 2


def test_the_name_of_the_file_stands_nowhere(client, painted):
    answer = client.post("/", files={"image": ("SECRET-4711.jpg", painted(), "image/jpeg")})
    everything = answer.content + attached(answer.text, "text") + attached(answer.text, "pdf")
    assert b"4711" not in everything
    assert "4711" not in pdf_text(attached(answer.text, "pdf"))
    refused = client.post("/", files={"image": ("SECRET-4711.jpg", b"text", "image/jpeg")})
    assert refused.status_code == 415
    assert "4711" not in refused.text


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_no_tag_of_an_upload_is_in_any_answer(client, kind):
    """25 files of each kind with camera, artist, place and comment: none of their words comes back."""
    for number in range(25):
        word = f"TAG{number:03d}SECRET"
        exif = Image.Exif()
        exif[0x010F], exif[0x013B], exif[0x9286] = word, word, word
        exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, float(number)), 29: word})
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").save(file, kind, exif=exif, comment=word)
        assert word.encode() in file.getvalue()
        page = posted(client, file.getvalue())
        api = client.post("/api/v1/predict", files={"image": ("a.jpg", file.getvalue())}, data={"heatmap": "true"})
        assert page.status_code == api.status_code == 200
        pictures = [base64.b64decode(data) for data in re.findall(r'image/\w+;base64,([^"]*)"', page.text)]
        assert len(pictures) == 2
        pictures.append(base64.b64decode(api.json()["heatmap"]))
        for part in (page.content, api.content, attached(page.text, "pdf"), attached(page.text, "text"), *pictures):
            assert word.encode() not in part
            assert b"SECRET" not in part
        for picture in pictures:
            with Image.open(io.BytesIO(picture)) as shown:
                assert not shown.getexif()


def test_what_a_stranger_writes_in_a_field_is_shown_as_text(client, painted):
    content = painted()
    for text in INJECTIONS:
        answer = posted(client, content, sex=text)
        assert answer.status_code == 422
        assert text not in answer.text or html.escape(text) == text
        assert html.escape(repr(text)) in html.escape(html.unescape(answer.text))
        told = client.post("/api/v1/predict", files={"image": ("a.jpg", content)}, data={"sex": text})
        assert repr(text) in told.json()["error"]


def test_names_and_notes_of_a_bundle_are_shown_as_text(ensemble_bundle, painted, tmp_path):
    """All 100 at once: as the name of the bundle, its notes and the card."""
    copy = shutil.copytree(ensemble_bundle, tmp_path / "copy")
    for file, change in (
        ("ensemble_bundle.json", lambda content: {**content, "name": INJECTIONS[0]}),
        ("metrics.json", lambda content: {**content, "notes": INJECTIONS}),
    ):
        content = json.loads((copy / file).read_text(encoding="utf-8"))
        (copy / file).write_text(json.dumps(change(content)), encoding="utf-8")
    write_sums(copy)
    predictor, card = Predictor(copy, engine="onnxruntime"), model_card(EnsembleBundle.read(copy))
    with TestClient(build_app(predictor, card=card), base_url="http://localhost") as client:
        result, card = posted(client, painted()).text, client.get("/card").text
        form = client.get("/").text
    report, pdf = attached(result, "text").decode("utf-8"), squeezed(pdf_text(attached(result, "pdf")))
    for text in INJECTIONS:
        assert f"Note: {text}\n" in report
        assert squeezed(text) in pdf
        for page in (card, form):
            assert text in html.unescape(page)
    for page in (result, card, form):
        assert len(re.findall(r"<script", page)) == 1  # the page's own
        assert "<img src=x" not in page
        assert "<svg" not in page


def test_class_names_are_shown_as_text(predictor, painted):
    """A report draws whatever the classes are called."""
    given = answer(predictor, painted(), {}, pictures=True)
    given.prediction.classes.update({text: 1 / 100 for text in INJECTIONS})
    try:
        report, pdf = as_text(given, predictor), squeezed(pdf_text(report_pdf(given, predictor)))
    finally:
        given.prediction.classes.clear()
    pdf = pdf.replace("0.010", "")  # stands between the lines of a long name
    for text in INJECTIONS:
        assert f"{text}: 0.010\n" in report
        assert squeezed(text) in pdf


def test_image_names_and_cells_are_written_to_csv_as_they_are(predictor, painted, tmp_path):
    from melanomafusion.deploy.prediction import to_table

    paths = []
    for number, text in enumerate(INJECTIONS):
        name = text.replace("/", "∕")  # the one letter that a file's name cannot hold
        (tmp_path / f"{number}").mkdir()
        path = tmp_path / f"{number}" / f"{name}.jpg"
        path.write_bytes(painted(seed=number))
        paths.append(path)
    to_table(predictor.iter_predictions(paths)).to_csv(tmp_path / "scores.csv", index=False)
    read = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    assert list(read["image_name"]) == [path.stem for path in paths]


def test_a_long_report_goes_over_pages(predictor, painted):
    given = answer(predictor, painted(), {}, pictures=True)
    given.prediction.warnings.extend([f"word{number} " * 40 + "x" * 300 for number in range(12)])
    pages = pypdf.PdfReader(io.BytesIO(report_pdf(given, predictor))).pages
    assert len(pages) >= 2
    for number, page in enumerate(pages, start=1):
        assert NOT_A_MEDICAL_DEVICE in page.extract_text()
        assert f"Page {number}" in page.extract_text()


def test_card_and_api_pages_stand(client, ensemble_bundle):
    card = client.get("/card").text
    said = [
        line.split("# ")[1] for line in (ensemble_bundle / "README.md").read_text("utf-8").splitlines() if "# " in line
    ]
    assert [html.unescape(title) for title in re.findall(r"<h[12]>(.*?)</h[12]>", card)] == said
    assert "<td>Ethics approval</td>" in card
    docs = client.get("/docs").text
    for part in ("/api/v1/predict", "anatom_site_general_challenge", "413", "Retry-After", "calibrated_on"):
        assert part in docs


def test_nothing_is_asked_of_elsewhere(client, page):
    for text in (page, client.get("/").text, client.get("/docs").text, client.get("/card").text):
        assert not re.findall(r'(?:src|href|action)="(?!/|#|data:)[^"]*"', text)
    for file in ("style.css", "page.js", "icon.svg"):
        answer = client.get(f"/static/{file}")
        assert answer.status_code == 200
        assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")


def test_a_card_brings_no_link_no_picture_and_no_html(predictor):
    """A card is read as Markdown; whoever made the bundle can say nothing with it but text."""
    hostile = [
        "[press](javascript:alert(1))",
        "![x](http://example.org/x.png)",
        "<http://example.org>",
        "<img src=x onerror=alert(1)>",
        "[r]: http://example.org",
        "&lt;script&gt;",
        "http://example.org/",
    ]
    card = "# Card\n\n" + "\n\n".join(hostile) + "\n\n| a |\n|---|\n| <script>alert(1)</script> |\n"
    with TestClient(build_app(predictor, card=card), base_url="http://localhost") as client:
        shown = client.get("/card").text
    article = re.search(r"<article.*</article>", shown, re.DOTALL).group()
    assert not re.findall(r"<(?:a|img|script|svg)\b", article)
    for text in hostile:
        assert html.escape(text) in article


def test_the_pdf_says_where_no_part_of_the_image_speaks_for_the_score(predictor, painted):
    given = answer(predictor, painted(), {}, pictures=True)
    for shown, words in ((given.prediction.heatmap * 0, True), (given.prediction.heatmap * 0 + 1, False)):
        changed = dataclasses.replace(given, prediction=dataclasses.replace(given.prediction, heatmap=shown))
        text = squeezed(pdf_text(report_pdf(changed, predictor)))
        assert (squeezed("No part of it speaks for a higher score") in text) == words
