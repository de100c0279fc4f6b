"""The report: one file that needs nothing else, the same bytes twice, whole or not at all."""

import base64
import json
import re
import warnings
from datetime import date
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest

import melanomafusion as mf
from melanomafusion.errors import OutputError
from melanomafusion.evaluation.report import FIGURES, short_name, write_report

DAY = date(2024, 2, 29)
CLASSES = ("melanoma", "nevus", "b<b>")
VOID = {"meta", "img", "br", "link"}


def scores(count=400, **columns):
    rng = np.random.default_rng(0)
    target = (rng.random(count) < 0.3).astype(int)
    frame = pd.DataFrame({"image_name": [f"i{i}" for i in range(count)], "target": target})
    frame["score"] = 1 / (1 + np.exp(-rng.normal(size=count) - 1.5 * target + 1))
    return frame.assign(**columns)


def oof(name="runs/a.csv", **columns):
    rng = np.random.default_rng(1)
    known = {
        "patient_id": [f"p{i // 4}" for i in range(400)],
        "fold": np.arange(400) // 4 % 4,
        "sex": rng.choice(["female", "male"], 400),
        "source": ["<i>clinic"] * 397 + ["B & co"] * 3,
    }
    return mf.Predictions(scores(**(known | columns)), "oof", name=name)


def multiclass():
    rng = np.random.default_rng(2)
    diagnosis = np.where(scores()["target"] == 1, "melanoma", rng.choice(CLASSES[1:], 400))
    values = {f"score_{label}": rng.random(400) + (diagnosis == label) for label in CLASSES}
    return oof(name="classes", grouped_by="record", diagnosis=diagnosis, **values)


def held_out(name="logits", **columns):
    frame = scores(**columns)
    return mf.Predictions(frame.assign(score=10 * frame["score"]), "held_out", name=name)


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def evaluations():
    first = oof()
    other = first.replace_scores(0.5 * first.scores + 0.5 * np.random.default_rng(3).random(400), name="runs/b.csv")
    return {
        "oof": mf.evaluate(first, against=other, resamples=50),
        "multiclass": mf.evaluate(multiclass(), resamples=50),
        "held_out": mf.evaluate(held_out(), threshold=5.0, resamples=50),
    }


@pytest.fixture(scope="module")
def folders(evaluations, tmp_path_factory):
    root = tmp_path_factory.mktemp("reports")
    for name, evaluation in evaluations.items():
        write_report(evaluation, root / name, written=DAY)
    return root


@pytest.fixture(scope="module")
def pages(folders, evaluations):
    return {name: Page((folders / name / "report.html").read_text(encoding="utf-8")) for name in evaluations}


@pytest.mark.parametrize("name", ["oof", "multiclass", "held_out"])
def test_metrics_json_is_to_dict(folders, evaluations, name):
    written = json.loads((folders / name / "metrics.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(evaluations[name].to_dict()))


def test_every_figure_is_written_as_png(folders):
    wanted = {f"{name}.png" for name in FIGURES} | {"report.html", "metrics.json"}
    assert {path.name for path in (folders / "oof").iterdir()} == wanted
    for path in (folders / "oof").glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")


def test_figures_that_nothing_can_be_drawn_of_are_left_out(folders, pages):
    wanted = {"roc.png", "precision_recall.png", "confusion_matrix.png", "report.html", "metrics.json"}
    assert {path.name for path in (folders / "held_out").iterdir()} == wanted
    assert len(pages["held_out"].all("img")) == 3


@pytest.mark.parametrize("name", ["oof", "multiclass", "held_out"])
def test_page_is_one_file_without_scripts_or_anything_from_elsewhere(folders, pages, name):
    text = (folders / name / "report.html").read_text(encoding="utf-8")
    page = pages[name]
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not any(key.startswith("on") for key in attrs)
        if "src" in attrs:
            assert attrs["src"].startswith("data:image/svg+xml;base64,")
        if "href" in attrs:
            assert tag == "a"
            assert attrs["href"].startswith("https://doi.org/")
    assert "url(" not in text
    assert "@import" not in text
    policy = [attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_figures_inside_are_svg_that_load_nothing(pages):
    for attrs in pages["oof"].all("img"):
        svg = base64.b64decode(attrs["src"].split(",", 1)[1]).decode()
        assert "<svg" in svg
        assert "<script" not in svg
        assert not re.findall(r'href="(?!#|data:)', svg)
        assert "<dc:date>" not in svg


def test_figures_have_alternative_texts_and_tables_have_captions(pages):
    for page in pages.values():
        assert all(len(attrs["alt"]) > 20 for attrs in page.all("img"))
        assert len(page.all("table")) == len(page.all("caption")) > 2
        assert all("scope" in attrs for attrs in page.all("th"))
        numbers = re.findall(r"Figure (\d+)\.", page.text)
        assert numbers == [str(i + 1) for i in range(len(page.all("img")))]


def test_page_says_what_it_is_and_is_not(pages, evaluations):
    for name, page in pages.items():
        assert page.text.count(mf.NOT_A_MEDICAL_DEVICE) == 2
        assert f"melanomafusion {mf.__version__}, 2024-02-29" in page.text
        for note in evaluations[name].notes:
            assert note in page.text
        for reference in ("TRIPOD+AI", "CLAIM", "DeLong", "Obuchowski", "Van Calster", "Vickers"):
            assert reference in page.text


def test_figures_on_the_page_are_those_of_the_evaluation(pages, evaluations):
    evaluation, text = evaluations["oof"], pages["oof"].text
    for interval in evaluation.auc.values():
        assert f"{interval.low:.4f} to {interval.high:.4f}" in text
    for value in evaluation.ranking.values():
        assert f"{value:.4f}" in text
    for threshold in evaluation.thresholds:
        assert threshold.rule[1:] in text
        share, low, high = threshold.sensitivity
        assert f"{share:.3f} ({low:.3f} to {high:.3f})" in text
    for value in evaluation.calibration.to_numpy().ravel():
        assert f"{value:.4f}".replace("-", "−") in text
    other, comparison = evaluation.against
    assert f"Against {short_name(other)}" in text
    assert f"{comparison.auc_b:.4f}" in text
    assert "Taken to be independent" in text


def test_data_and_split_are_said_in_words(pages):
    text = pages["oof"].text
    assert "400, of which" in text
    assert "100 patients, 4.0 records each" in text
    assert "<i>clinic" in text
    assert "Out of fold: cross-validation" in text
    assert "4 folds" in text
    assert "no patient lies in two folds" in text
    assert "Patients Not known" in pages["held_out"].text
    assert "one model" in pages["held_out"].text


def test_subgroups_that_say_nothing_are_flagged(pages):
    assert "too few to say" in pages["oof"].text
    assert "B & co" in pages["oof"].text


def test_classes_have_their_table(pages, evaluations):
    table, overall = evaluations["multiclass"].multiclass
    text = pages["multiclass"].text
    assert f"Accuracy {overall['accuracy']:.4f}" in text
    assert f"{table.loc['b<b>', 'f1']:.4f}" in text
    assert "b<b>" in text
    assert "Several classes" not in pages["oof"].text


def test_image_level_split_is_named_on_the_page(pages):
    assert "Image-level split" in pages["multiclass"].text
    assert "image-level" not in pages["oof"].text.lower()


def test_names_and_values_cannot_become_markup(tmp_path):
    name = '<script>alert("1")</script> $x_{ & \'"'
    evaluation = mf.evaluate(held_out(name, sex=["<img src=x onerror=alert(1)>", "$\\frac{"] * 200), resamples=20)
    write_report(evaluation, tmp_path, written=DAY)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.all("script")
    assert all(attrs["src"].startswith("data:") for attrs in page.all("img"))
    assert name in page.text
    assert "<img src=x onerror=alert(1)>" in page.text


def test_names_in_any_script_and_foreign_settings_are_drawn_without_a_warning(tmp_path):
    with warnings.catch_warnings(), matplotlib.rc_context({"figure.facecolor": "black", "svg.fonttype": "none"}):
        warnings.simplefilter("error")
        write_report(mf.evaluate(held_out("黑色素瘤"), resamples=20), tmp_path, written=DAY)
    assert "黑色素瘤" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_same_evaluation_gives_the_same_bytes(folders, evaluations, tmp_path):
    with matplotlib.rc_context({"lines.linewidth": 9, "svg.hashsalt": "other"}):
        write_report(evaluations["oof"], tmp_path, written=DAY)
    for path in (folders / "oof").iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.fixture(scope="module")
def again(evaluations, tmp_path_factory):
    """A report on another day, in a folder that holds an earlier one."""
    folder = tmp_path_factory.mktemp("again")
    (folder / "subgroups.png").write_bytes(b"old")
    (folder / "history.png").write_bytes(b"not ours")
    write_report(evaluations["held_out"], folder, written=date(2025, 1, 1))
    return folder


def test_only_the_date_differs_between_days(folders, again):
    first, second = ((folder / "report.html").read_text(encoding="utf-8") for folder in (folders / "held_out", again))
    assert second.replace("2025-01-01", "2024-02-29") == first


def test_figures_of_an_earlier_report_do_not_stay(again):
    assert not (again / "subgroups.png").exists()
    assert (again / "history.png").read_bytes() == b"not ours"


def test_nothing_is_written_where_a_file_is_in_the_way(evaluations, tmp_path):
    (tmp_path / "report").write_text("a file")
    with pytest.raises(OutputError, match="Cannot write"):
        evaluations["held_out"].write(tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["report"]
    assert (tmp_path / "report").read_text() == "a file"


def test_nothing_half_written_stays_where_one_file_cannot_be_written(evaluations, tmp_path):
    (tmp_path / "report.html" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"report\.html"):
        write_report(evaluations["held_out"], tmp_path, written=DAY)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("/data/oof/a.csv, column b/4", "a.csv, column b/4"),
        ("C:\\data\\a.parquet", "a.parquet"),
        ("b4/b5 mean", "b4/b5 mean"),
        ("b4", "b4"),
    ],
)
def test_titles_leave_out_folders(name, short):
    assert short_name(mf.Predictions(oof().frame, "oof", name=name)) == short
