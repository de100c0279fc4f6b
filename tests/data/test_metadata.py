"""The encoder learns from the rows it is fitted on and from nothing else."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.data.metadata_features import FEATURES, list_features
from melanomafusion.errors import MetadataError

PROPERTY = settings(max_examples=40, deadline=None, database=None)
SITE = "anatom_site_general_challenge"
ALL = ("sex", "age", "site", "images_per_patient", "rank_in_patient", "width", "height", "file_bytes")


def frame(sex, age, site):
    return pd.DataFrame(
        {
            "sex": pd.Series(sex, dtype="str"),
            "age_approx": pd.Series(age, dtype="float64"),
            SITE: pd.Series(site, dtype="str"),
        }
    )


def train():
    return frame(["male", "female", None, "male"], [0.0, 40.0, 80.0, None], ["torso", None, "head/neck", "torso"])


ROW = st.tuples(
    st.sampled_from(["male", "female", "other", None]),
    st.one_of(st.none(), st.integers(0, 120).map(float)),
    st.sampled_from(["torso", "head/neck", "palms/soles", None]),
)
FRAMES = st.lists(ROW, min_size=1, max_size=12).map(lambda rows: frame(*zip(*rows, strict=True)))


def test_a_row_is_encoded_as_documented():
    encoder = MetadataEncoder().fit(train())
    assert encoder.feature_names == [
        "sex=female",
        "sex=male",
        "sex=missing",
        "sex=unknown",
        "age",
        "age=missing",
        "site=head/neck",
        "site=torso",
        "site=missing",
        "site=unknown",
    ]
    # Mean 40 and deviation 80/√6 of the three known ages.
    z = 40 / np.std([0.0, 40.0, 80.0])
    expected = [
        [0, 1, 0, 0, -z, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 1, 0, z, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 1, 0, 1, 0, 0],
    ]
    encoded = encoder.transform(train())
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, expected, rtol=1e-6)


def test_age_0_is_an_age_and_not_missing():
    encoder = MetadataEncoder(["age"]).fit(train())
    zero, missing = encoder.transform(frame(["male"] * 2, [0.0, None], ["torso"] * 2))
    assert zero[1] == 0
    assert missing.tolist() == [0, 1]
    assert zero[0] < -1


def test_missing_and_unseen_have_levels_of_their_own():
    encoder = MetadataEncoder(["sex", "site"]).fit(train())
    seen, missing, unseen = encoder.transform(frame(["male", None, "other"], [1.0] * 3, ["torso", None, "palms/soles"]))
    names = np.array(encoder.feature_names)
    assert set(names[seen == 1]) == {"sex=male", "site=torso"}
    assert set(names[missing == 1]) == {"sex=missing", "site=missing"}
    assert set(names[unseen == 1]) == {"sex=unknown", "site=unknown"}


def test_missing_is_a_level_even_where_no_fitted_row_lacks_the_value():
    encoder = MetadataEncoder().fit(frame(["male", "female"], [10.0, 20.0], ["torso", "torso"]))
    row = encoder.transform(frame([None], [None], [None]))
    np.testing.assert_array_equal(row[0], encoder.missing_row())
    assert row.sum() == 3


def test_a_category_missing_in_all_fitted_rows_can_still_be_encoded():
    encoder = MetadataEncoder(["sex"]).fit(frame([None, None], [1.0, 2.0], ["torso"] * 2))
    assert encoder.feature_names == ["sex=missing", "sex=unknown"]
    assert encoder.transform(train()).tolist() == [[0, 1], [0, 1], [1, 0], [0, 1]]


def test_ages_all_equal_do_not_divide_by_zero():
    encoder = MetadataEncoder(["age"]).fit(frame(["male"] * 2, [50.0, 50.0], ["torso"] * 2))
    assert encoder.transform(frame(["male"] * 2, [50.0, 51.0], ["torso"] * 2)).tolist() == [[0, 0], [1, 0]]


@PROPERTY
@given(FRAMES)
def test_numbers_are_standardised_over_the_fitted_rows(rows):
    known = rows["age_approx"].dropna()
    if known.nunique() < 2:
        return
    scaled = MetadataEncoder(["age"]).fit(rows).transform(rows)[:, 0][rows["age_approx"].notna().to_numpy()]
    assert abs(scaled.mean()) < 1e-4
    assert abs(scaled.std() - 1) < 1e-4


@PROPERTY
@given(FRAMES)
def test_transform_changes_neither_the_encoder_nor_the_table(rows):
    encoder = MetadataEncoder().fit(train())
    state, width, before = encoder.to_json(), encoder.width, rows.copy()
    first = encoder.transform(rows)
    assert encoder.to_json() == state
    assert first.shape == (len(rows), width)
    pd.testing.assert_frame_equal(rows, before)
    np.testing.assert_array_equal(encoder.transform(rows), first)


@PROPERTY
@given(FRAMES)
def test_a_row_has_the_same_vector_whatever_rows_stand_beside_it(rows):
    encoder = MetadataEncoder().fit(train())
    together = encoder.transform(rows)
    for position in range(len(rows)):
        np.testing.assert_array_equal(encoder.transform(rows.iloc[[position]])[0], together[position])
    np.testing.assert_array_equal(encoder.transform(rows.iloc[::-1]), together[::-1])


@PROPERTY
@given(FRAMES)
def test_each_field_is_one_level_or_a_number_with_its_mark(rows):
    encoder = MetadataEncoder().fit(train())
    encoded = encoder.transform(rows)
    assert np.isfinite(encoded).all()
    for name, columns in encoder.slices.items():
        block = encoded[:, columns]
        if FEATURES[name].kind == "category":
            assert set(np.unique(block)) <= {0.0, 1.0}
            assert (block.sum(axis=1) == 1).all()
        else:
            assert (block[block[:, 1] == 1, 0] == 0).all()


@PROPERTY
@given(FRAMES, FRAMES)
def test_state_comes_from_the_fitted_rows_alone(rows, held_out):
    if rows["age_approx"].isna().all():
        return
    encoder = MetadataEncoder().fit(rows)
    before = encoder.to_json()
    encoder.transform(held_out)
    assert encoder.to_json() == before == MetadataEncoder().fit(rows).to_json()
    # Neither the order of the fitted rows matters.
    again = MetadataEncoder().fit(rows.iloc[::-1]).transform(held_out)
    np.testing.assert_allclose(again, encoder.transform(held_out), rtol=1e-5, atol=1e-6)


def test_fitting_again_forgets_the_first_fit():
    encoder = MetadataEncoder().fit(train())
    other = frame(["female"], [70.0], ["palms/soles"])
    assert encoder.fit(other).to_json() == MetadataEncoder().fit(other).to_json()


def test_a_fit_that_fails_leaves_the_earlier_state():
    encoder = MetadataEncoder().fit(train())
    before = encoder.to_json()
    with pytest.raises(MetadataError):
        encoder.fit(train().drop(columns="age_approx"))
    assert encoder.to_json() == before


@PROPERTY
@given(FRAMES, FRAMES)
def test_an_encoder_read_back_from_json_transforms_identically(rows, others):
    if rows["age_approx"].isna().all():
        return
    encoder = MetadataEncoder().fit(rows)
    back = MetadataEncoder.from_json(encoder.to_json())
    assert back.features == encoder.features
    assert back.feature_names == encoder.feature_names
    assert back.to_json() == encoder.to_json()
    np.testing.assert_array_equal(back.transform(others), encoder.transform(others))


def test_the_order_of_features_survives_the_file(tmp_path):
    encoder = MetadataEncoder(["site", "age", "sex"]).fit(train())
    encoder.write(tmp_path / "metadata_encoder.json")
    text = (tmp_path / "metadata_encoder.json").read_text(encoding="utf-8")
    assert text == encoder.to_json()
    assert MetadataEncoder.from_json(text).features == ("site", "age", "sex")


def state(**changes):
    content = json.loads(MetadataEncoder(["sex", "age", "site"]).fit(train()).to_json())
    content.update(changes)
    return json.dumps(content)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        state(format=2),
        state(format=None),
        state(features={}),
        state(features=[]),
        state(features={"sex": {"mean": 0, "scale": 1}}),
        state(features={"age": {"mean": 0}}),
        state(features={"age": {}}),
        state(features={"hair": {"levels": []}}),
    ],
)
def test_a_text_that_is_no_encoder_is_refused(text):
    with pytest.raises(MetadataError):
        MetadataEncoder.from_json(text)


def test_a_later_format_is_refused_with_both_numbers():
    with pytest.raises(MetadataError, match=r"format 2; this version reads format 1"):
        MetadataEncoder.from_json(state(format=2))


@pytest.mark.parametrize("features", [(), ("hair",), ("sex", "hair"), ("sex", "sex")])
def test_unknown_repeated_or_no_features_are_refused_with_those_known(features):
    with pytest.raises(MetadataError, match="Known features") as caught:
        MetadataEncoder(features)
    assert "images_per_patient" in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda encoder: encoder.transform(train()),
        lambda encoder: encoder.width,
        lambda encoder: encoder.feature_names,
        lambda encoder: encoder.slices,
        lambda encoder: encoder.missing_row(),
        lambda encoder: encoder.to_json(),
    ],
)
def test_an_encoder_must_be_fitted_first(use):
    with pytest.raises(MetadataError, match="not fitted"):
        use(MetadataEncoder())


@pytest.mark.parametrize("column", ["sex", "age_approx", SITE])
def test_a_missing_column_is_refused_by_name_in_fit_and_transform(column):
    for use in (MetadataEncoder().fit, MetadataEncoder().fit(train()).transform):
        with pytest.raises(MetadataError, match=f"needs column {column}"):
            use(train().drop(columns=column))


@pytest.mark.parametrize("dtype", ["object", "str"])
def test_numbers_of_a_table_that_was_read_as_text_are_numbers(dtype):
    numbers = pd.DataFrame({"file_bytes": [100.0, 2000.0, np.nan], "age_approx": [0.0, 50.0, np.nan]})
    text = pd.DataFrame({"file_bytes": ["100", "2e3", None], "age_approx": ["0", "50", None]}, dtype=dtype)
    encoder = MetadataEncoder(["age", "file_bytes"]).fit(numbers)
    np.testing.assert_array_equal(encoder.transform(text), encoder.transform(numbers))
    np.testing.assert_array_equal(encoder.transform(numbers.astype("Int64")), encoder.transform(numbers))


@pytest.mark.parametrize("value", ["abc", "1 MB", "inf", 0, -3])
def test_what_is_no_number_is_named_with_its_column(value):
    encoder = MetadataEncoder(["file_bytes"]).fit(pd.DataFrame({"file_bytes": [100.0, 2000.0]}))
    with pytest.raises(MetadataError, match="Column file_bytes holds 1 values that are no numbers above 0") as error:
        encoder.transform(pd.DataFrame({"file_bytes": [100, value, None]}))
    assert repr(value) in str(error.value)
    with pytest.raises(MetadataError, match=r"Column age_approx holds 4 values that are no numbers: 'a', 'b', 'c', …"):
        MetadataEncoder(["age"]).fit(pd.DataFrame({"age_approx": ["a", "b", "c", "d", "5"]}))


def test_fit_refuses_no_rows_and_a_number_without_values():
    with pytest.raises(MetadataError, match="at least one row"):
        MetadataEncoder().fit(train().iloc[:0])
    with pytest.raises(MetadataError, match="'age' has no value in any of 2 rows"):
        MetadataEncoder().fit(frame(["male"] * 2, [None, None], ["torso"] * 2))


def test_each_feature_declares_what_it_needs():
    table = list_features()
    assert tuple(table.index) == ALL
    assert table["needs"].to_dict() == {
        "sex": "record",
        "age": "record",
        "site": "record",
        "images_per_patient": "patient",
        "rank_in_patient": "patient",
        "width": "file",
        "height": "file",
        "file_bytes": "file",
    }
    # What tells how the data were collected is called leaky where it is listed.
    assert table.loc[table["needs"] == "file", "leaky"].all()
    assert not table.loc[["sex", "age", "site"], "leaky"].any()


def test_features_of_the_file_or_the_patient_are_off_unless_named():
    defaults = MetadataEncoder().features
    assert defaults == ("sex", "age", "site")
    assert all(FEATURES[name].needs == "record" and not FEATURES[name].leaky for name in defaults)
    extra = {"width": 600, "height": 450, "file_bytes": 9000, "patient_id": "p", "image_name": list("abcd")}
    plain, with_more = MetadataEncoder().fit(train()), MetadataEncoder().fit(train().assign(**extra))
    assert plain.to_json() == with_more.to_json()
    np.testing.assert_array_equal(plain.transform(train()), with_more.transform(train().assign(**extra)))


def test_features_of_the_patient_count_and_rank_the_images():
    table = pd.DataFrame(
        {"patient_id": ["p", "q", "p", "p", "q"], "image_name": ["c", "a", "a", "b", "b"], "sex": ["male"] * 5}
    )
    count, rank = np.log1p([3, 2, 3, 3, 2]), np.array([1, 1 / 2, 1 / 3, 2 / 3, 1])
    encoded = MetadataEncoder(["images_per_patient", "rank_in_patient"]).fit(table).transform(table)
    np.testing.assert_allclose(encoded[:, 0], (count - count.mean()) / count.std(), rtol=1e-5)
    np.testing.assert_allclose(encoded[:, 2], (rank - rank.mean()) / rank.std(), rtol=1e-5)
    assert (encoded[:, [1, 3]] == 0).all()


def test_features_of_the_patient_are_missing_where_the_patient_is():
    table = pd.DataFrame({"patient_id": ["p", "p", "q", None], "image_name": list("abcd")})
    encoded = MetadataEncoder(["images_per_patient", "rank_in_patient"]).fit(table).transform(table)
    assert encoded[3].tolist() == [0, 1, 0, 1]
    assert (encoded[:3, [1, 3]] == 0).all()


@pytest.mark.parametrize("name", ["width", "height", "file_bytes"])
def test_features_of_the_file_are_logarithms(name):
    table = pd.DataFrame({name: [100.0, 1000.0, 10000.0, None]})
    encoded = MetadataEncoder([name]).fit(table).transform(table)
    np.testing.assert_allclose(encoded[:, 0], [-np.sqrt(1.5), 0, np.sqrt(1.5), 0], atol=1e-5)
    assert encoded[:, 1].tolist() == [0, 0, 0, 1]


def test_slices_cover_all_columns_in_order():
    encoder = MetadataEncoder(["age", "sex", "site"]).fit(train())
    assert list(encoder.slices) == ["age", "sex", "site"]
    assert [name for s in encoder.slices.values() for name in encoder.feature_names[s]] == encoder.feature_names
    assert encoder.width == len(encoder.feature_names) == encoder.transform(train()).shape[1]


def test_the_missing_row_is_the_vector_of_a_record_without_metadata():
    encoder = MetadataEncoder().fit(train())
    np.testing.assert_array_equal(encoder.missing_row(), encoder.transform(frame([None], [None], [None]))[0])


def test_dropped_fields_are_missing_and_the_others_stay():
    encoder = MetadataEncoder().fit(train())
    encoded = encoder.transform(train())
    before = encoded.copy()
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(encoder.drop_fields(encoded, 0.0, rng), encoded)
    np.testing.assert_array_equal(encoder.drop_fields(encoded, 1.0, rng), np.tile(encoder.missing_row(), (4, 1)))
    many = np.repeat(encoded[:1], 4000, axis=0)
    dropped = encoder.drop_fields(many, 0.3, rng)
    gone = []
    for columns in encoder.slices.values():
        is_missing = (dropped[:, columns] == encoder.missing_row()[columns]).all(axis=1)
        is_kept = (dropped[:, columns] == many[:, columns]).all(axis=1)
        assert (is_missing ^ is_kept).all()
        assert abs(is_missing.mean() - 0.3) < 0.04
        gone.append(is_missing)
    # Fields are dropped independently of each other.
    assert abs((gone[0] & gone[1]).mean() - 0.09) < 0.03
    np.testing.assert_array_equal(encoded, before)
    assert dropped.dtype == np.float32


def test_fields_dropped_together_are_all_missing():
    encoder = MetadataEncoder().fit(train())
    many = np.repeat(encoder.transform(train())[:1], 4000, axis=0)
    dropped = encoder.drop_fields(many, 0.0, np.random.default_rng(0), together=0.3)
    gone = (dropped == encoder.missing_row()).all(axis=1)
    np.testing.assert_array_equal(dropped[~gone], many[~gone])
    assert abs(gone.mean() - 0.3) < 0.04


def test_dropping_fields_is_drawn_from_the_generator_given():
    encoder = MetadataEncoder().fit(train())
    encoded = np.tile(encoder.transform(train()), (50, 1))
    one, same, other = (encoder.drop_fields(encoded, 0.5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_copy_is_independent():
    encoder = MetadataEncoder().fit(train())
    other = copy.deepcopy(encoder)
    other.fit(frame(["female"], [70.0], ["palms/soles"]))
    assert encoder.to_json() == MetadataEncoder().fit(train()).to_json()


def test_repr_says_whether_it_is_fitted():
    assert repr(MetadataEncoder()).endswith("not fitted")
    assert repr(MetadataEncoder().fit(train())).endswith("10 columns")


def test_levels_that_are_numbers_are_known_again():
    frame = pd.DataFrame({"sex": [0, 1, 0, None]})
    encoder = MetadataEncoder(("sex",)).fit(frame)
    np.testing.assert_array_equal(encoder.transform(frame).argmax(axis=1), [0, 1, 0, 2])


def test_equal_patient_ids_of_two_sources_are_two_patients():
    frame = pd.DataFrame({"patient_id": ["P"] * 5, "image_name": list("abcde"), "source": ["x", "x", "y", "y", "y"]})
    encoder = MetadataEncoder(("images_per_patient",)).fit(frame)
    first = encoder.transform(frame)[:, 0]
    assert len(set(first[:2])) == len(set(first[2:])) == 1
    assert first[0] < first[2]
    shared = encoder.transform(frame.assign(patient_id_space="x"))[:, 0]
    assert len(set(shared)) == 1
    assert shared[0] > first[2]
