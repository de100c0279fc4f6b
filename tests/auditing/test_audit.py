"""The audit as a whole: what stands, what is clean, and what cannot be audited."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import melanomafusion as mf
from melanomafusion.errors import MelanomaFusionError, MetadataError, TableError
from melanomafusion.testing import make_records


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A SIIM-like table without images."""
    path = tmp_path_factory.mktemp("table") / "train.csv"
    make_records(120, prevalence=0.2, rng=np.random.default_rng(0))[0].to_csv(path, index=False)
    return mf.load_siim_isic_2020(path, with_images=False)


@pytest.fixture
def pictured(records, skin, write):
    """Twelve records of twelve patients, with images that are all different."""
    paths = [write(f"{i}.jpg", skin(i)) for i in range(12)]
    return records(12, path=paths, patient_id=[f"P{i}" for i in range(12)], target=[0, 1] * 6)


def kinds(audit):
    return {finding.kind: finding.level for finding in audit.findings}


def test_a_sound_table_in_patient_folds_is_clean(table):
    audit = mf.audit(mf.assign_folds(table, 3))
    assert audit.clean
    assert not audit.leaks
    assert audit.duplicates.empty
    assert kinds(audit) == {"leaky_columns": "warning", "columns_alone": "note", "missing_values": "note"} | {
        "no_images": "note"
    }
    assert "no leak stands, 1 warning, 3 notes" in str(audit)


def test_image_level_folds_leak_patients_and_the_call_mends_it(table):
    data = mf.assign_folds(table, 3, group="record")
    audit = mf.audit(data)
    assert [finding.kind for finding in audit.leaks] == ["patient_in_several_folds"]
    assert not audit.clean
    assert str(audit).index("LEAK") < str(audit).index("warning ")
    names = {"mf": mf, "data": data}
    exec(audit.leaks[0].call, names)
    assert mf.audit(names["data"]).clean


def test_listed_pairs_are_found_and_those_of_other_copies_told(table, tmp_path):
    frame = table.frame
    same = frame.groupby("patient_id").filter(lambda rows: len(rows) > 1)["image_name"].tolist()[:2]
    other = [frame["image_name"].iloc[0], frame["image_name"].iloc[-1]]
    path = tmp_path / "list.csv"
    pd.DataFrame([same, other, ["x", "y"]]).to_csv(path, index=False)
    audit = mf.audit(table, duplicates=path)
    assert audit.duplicates[["how", "leak"]].to_numpy().tolist() == [["official", False], ["official", True]]
    assert kinds(audit)["official_duplicates_apart"] == "leak"
    assert kinds(audit)["official_duplicates"] == "warning"
    assert "1 of 3 listed pairs" in str(audit)
    assert audit.duplicates["distance"].isna().all()


def test_copies_of_images_are_found_and_gone_once_dropped(pictured, skin, write, tmp_path):
    frame = pictured.frame
    frame.loc[5, "path"] = write("copy.jpg", np.rot90(skin(3)))
    frame.loc[7, "path"] = frame.loc[1, "path"]
    data = mf.Dataset(frame)
    audit = mf.audit(data)
    found = audit.duplicates.set_index("how")[["image_name_1", "image_name_2", "same_bytes", "turned"]]
    assert found.loc["exact"].tolist() == ["image_1", "image_7", True, False]
    assert found.loc["near"].tolist() == ["image_3", "image_5", False, True]
    assert {finding.kind for finding in audit.leaks} == {"exact_duplicates_apart", "near_duplicates_apart"}
    mended = mf.audit(mf.drop_duplicates(data, audit.duplicates))
    assert mended.clean
    assert mended.duplicates.empty
    assert audit.about["images"] == 12


def test_a_longer_distance_is_taken(pictured, skin, write):
    frame = pictured.frame
    frame.loc[5, "path"] = write("copy.jpg", skin(3)[2:-2, 2:-2])
    assert len(mf.audit(mf.Dataset(frame)).duplicates) == 1
    assert mf.audit(mf.Dataset(frame), max_distance=1).duplicates.empty


def test_unreadable_images_are_a_warning_whose_call_leaves_them_out(pictured, tmp_path):
    frame = pictured.frame
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 no picture")
    frame.loc[2, "path"] = str(tmp_path / "bad.jpg")
    frame.loc[4, "path"] = str(tmp_path / "gone.jpg")
    data = mf.Dataset(frame)
    audit = mf.audit(data)
    finding = next(finding for finding in audit.findings if finding.kind == "unreadable_images")
    assert (finding.level, finding.count) == ("warning", 2)
    names = {"mf": mf, "data": data, "audit": audit}
    exec(finding.call, names)
    assert len(names["data"]) == 10
    assert "unreadable_images" not in kinds(mf.audit(names["data"]))


def test_a_test_split_without_targets_breaks_nothing(table, tmp_path):
    frame = make_records(10, rng=np.random.default_rng(1), prefix="test")[0]
    frame.drop(columns=["target", "diagnosis", "benign_malignant"]).to_csv(tmp_path / "test.csv", index=False)
    test = mf.load_siim_isic_2020(tmp_path / "test.csv", split="test", with_images=False)
    for data in (table.concat(test), test):
        audit = mf.audit(data)
        assert audit.clean
        assert audit.about["without_target"] == len(test)
        json.dumps(audit.to_dict(), allow_nan=False)


def test_several_sources_are_compared(table):
    other = table.with_columns(source="elsewhere", image_name="x" + table.frame["image_name"])
    assert "prevalence_by_source" in kinds(mf.audit(table.concat(other)))


def test_the_same_data_give_the_same_audit(table):
    assert mf.audit(table).to_dict() == mf.audit(table).to_dict()
    shuffled = table.select(table.image_names[np.random.default_rng(0).permutation(len(table))])
    assert str(mf.audit(shuffled)) == str(mf.audit(table))


def test_the_data_set_is_not_changed(table):
    before = table.frame
    mf.audit(table)
    pd.testing.assert_frame_equal(table.frame, before)


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"max_distance": -1}, MelanomaFusionError, "max_distance"),
        ({"max_distance": 129}, MelanomaFusionError, "from 0 to 128"),
        ({"max_distance": 4.0}, MelanomaFusionError, "max_distance=4.0"),
        ({"max_distance": True}, MelanomaFusionError, "max_distance"),
        ({"features": "sex"}, MelanomaFusionError, "features must be names"),
        ({"features": None}, MelanomaFusionError, "features must be names"),
        ({"features": (1,)}, MelanomaFusionError, "features must be names"),
        ({"features": ("hue",)}, MetadataError, "'hue'"),
        ({"duplicates": "absent.csv"}, TableError, "no such file"),
        ({"duplicates": pd.DataFrame({"a": []})}, TableError, "image_name_1 is missing"),
        ({"duplicates": 3}, TableError, "Received: int"),
    ],
)
def test_wrong_arguments_are_refused_before_images_are_read(pictured, options, error, told):
    events = []
    with pytest.raises(error, match=told):
        mf.audit(pictured, on_event=events.append, **options)
    assert not events


def test_what_is_no_data_set_or_empty_is_refused(table):
    with pytest.raises(MelanomaFusionError, match="Received: DataFrame"):
        mf.audit(table.frame)
    with pytest.raises(MelanomaFusionError, match="no records"):
        mf.audit(table.select(np.zeros(len(table), dtype=bool)))


@pytest.mark.parametrize("columns", [{}, {"target": [None] * 3}, {"sex": "male"}])
def test_a_table_that_knows_next_to_nothing_is_audited(records, tmp_path, columns):
    audit = mf.audit(records(3, **columns), features=())
    assert audit.clean
    assert str(audit)
    audit.write(tmp_path / "out")


def test_images_are_left_alone_when_told(pictured):
    events = []
    audit = mf.audit(pictured, images=False, on_event=events.append)
    assert not events
    assert (audit.about["images"], kinds(audit)["no_images"]) == (0, "note")


def test_events_tell_how_far_it_is(pictured):
    events = []
    mf.audit(pictured, on_event=events.append)
    assert {event["what"] for event in events} == {"reading images", "searching near duplicates"}
    assert events[-1]["done"] == events[-1]["total"]


def test_strange_columns_and_names_break_nothing(records, tmp_path):
    data = records(6, target=[0, 1] * 3, sex=["male", None] * 3).with_columns(
        **{
            "größe": [1, "x", None, 2.5, True, ("a",)],
            "all missing": None,
            "when": pd.Timestamp(2020, 1, 1),
            "π": np.inf,
        }
    )
    frame = data.frame
    frame.loc[0, "image_name"] = '<b>Ünï\n"name"</b>'
    audit = mf.audit(mf.Dataset(frame))
    audit.write(tmp_path / "out")
    assert str(audit)


def test_pictures_in_other_modes_are_read(pictured, skin, tmp_path):
    frame = pictured.frame
    for row, mode in enumerate(("L", "P")):
        Image.fromarray(skin(50 + row)).convert(mode).save(tmp_path / f"{mode}.png")
        frame.loc[row, "path"] = str(tmp_path / f"{mode}.png")
    assert "unreadable_images" not in kinds(mf.audit(mf.Dataset(frame)))
