"""The page: whole, alone, escaped, with the worst pairs first."""

import base64
import json
import re
from datetime import date
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.auditing.report import report_html, worst_pairs, write_report
from melanomafusion.errors import OutputError
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE

DAY = date(2026, 1, 2)


class Page(HTMLParser):
    """Tags, texts and sources of images; every tag closed in order."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.texts, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes)["src"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def audited(records, skin, write):
    """Two pairs of copies, one of them with conflicting targets in different folds, and an unreadable image."""
    paths = [write(f"{i}.jpg", skin(i)) for i in range(8)]
    paths[4], paths[6] = paths[0], write("half.jpg", skin(1)[::2, ::2])
    data = records(8, path=paths, target=[0, 1, 0, 1, 0, 1, 0, 1], fold=[0, 1, 0, 1, 0, 1, 0, 1], grouped_by="record")
    frame = data.frame
    frame.loc[2, "image_name"] = "<script>alert(1)</script>"
    return mf.audit(mf.Dataset(frame))


def test_it_writes_three_files_that_agree(audited, tmp_path):
    audited.write(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["audit.html", "audit.json", "duplicates.csv"]
    content = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    assert content == audited.to_dict()
    assert content["clean"] is False
    assert len(content["duplicates"]) == len(pd.read_csv(tmp_path / "out" / "duplicates.csv")) == 2
    pairs = mf.read_duplicates(tmp_path / "out" / "duplicates.csv")
    assert pairs["image_name_1"].tolist() == audited.duplicates["image_name_1"].tolist()


def test_the_page_needs_nothing_else_and_shows_every_finding(audited):
    text = report_html(audited, DAY)
    page = Page(text)
    shown = "".join(page.texts)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r'(?:src|href)="(?!data:)', text)
    assert NOT_A_MEDICAL_DEVICE in shown
    for finding in audited.findings:
        assert finding.title in shown
        assert finding.action in shown
        assert finding.call in shown


def test_names_are_escaped(records, tmp_path):
    data = records(2, target=[0, 1], patient_id="<img src=x>", fold=[0, 1], grouped_by="record")
    text = report_html(mf.audit(data), DAY)
    assert "<img src=x" not in text
    assert "&lt;img src=x&gt;" in text


def test_the_worst_pair_comes_first_with_its_pictures(audited):
    text = report_html(audited, DAY)
    page = Page(text)
    assert len(page.images) == 4
    for source in page.images:
        picture = Image.open(BytesIO(base64.b64decode(source.removeprefix("data:image/jpeg;base64,"))))
        assert max(picture.size) <= 240
    assert text.index("image_6") < text.index('alt="image_0"')
    assert "different folds" in text
    assert "target differs" in text


def test_order_of_the_pairs():
    table = pd.DataFrame(
        {
            "leak": [False, False, True, True, True, False, True],
            "conflicts": ["", "target", "", "", "diagnosis", "age", "age"],
            "distance": [1.0, 9.0, 8.0, np.nan, 7.0, 0.0, 2.0],
        }
    )
    assert worst_pairs(table).index.tolist() == [4, 6, 2, 3, 5, 1, 0]
    assert len(worst_pairs(pd.concat([table] * 9))) == 40


def test_a_pair_whose_file_is_gone_has_no_picture_but_is_shown(audited):
    page = Page(report_html(mf.Audit(audited.findings, audited.duplicates, audited.about, {}), DAY))
    assert not page.images
    assert page.texts.count("no picture") == 4


def test_the_same_audit_and_day_give_the_same_bytes(audited, tmp_path):
    for folder in ("one", "two"):
        write_report(audited, tmp_path / folder, written=DAY)
    for name in ("audit.html", "audit.json", "duplicates.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_a_clean_audit_says_so(records):
    audit = mf.audit(records(2, patient_id=["A", "B"]), images=False)
    text = report_html(audit, DAY)
    assert "No leak stands" in text
    assert 'class="verdict"' in text
    assert "Pairs, the worst first" not in text


def test_a_file_in_the_way_is_one_message(audited, tmp_path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(OutputError, match="out"):
        audited.write(tmp_path / "out")
