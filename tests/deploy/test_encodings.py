"""One encoding for several models: what each was trained on is a linear function of it, exactly."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.data.metadata import MetadataEncoder
from melanomafusion.deploy.encodings import common_encoder, translation
from melanomafusion.testing import make_records

FEATURES = ("sex", "age", "site", "width")


def records(seed, count=40):
    rng = np.random.default_rng(seed)
    frame = make_records(count, rng=rng)[0]
    return frame.assign(width=pd.Series(rng.integers(100, 4000, len(frame)), index=frame.index, dtype="Int64"))


def no_site(frame, *gone):
    return frame[~frame["anatom_site_general_challenge"].isin(gone)]


@given(seed=st.integers(0, 1000), rows=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_the_translation_gives_what_each_encoder_gives(seed, rows):
    fitted = [records(seed), no_site(records(seed + 1), "torso"), no_site(records(seed + 2), "head/neck", "torso")]
    encoders = [MetadataEncoder(FEATURES).fit(frame) for frame in fitted]
    common = common_encoder(encoders)
    new = records(seed + 3).head(rows).copy()
    new.loc[new.index[0], ["sex", "anatom_site_general_challenge", "age_approx"]] = pd.NA
    new["width"] = new["width"].mask(np.arange(len(new)) % 3 == 0)
    encoded = common.transform(new).astype("float64")
    for encoder in encoders:
        matrix, shift = translation(common, encoder)
        np.testing.assert_allclose(encoded @ matrix + shift, encoder.transform(new), atol=2e-5)


def test_the_common_encoder_knows_the_levels_of_all_and_its_own_translation_changes_nothing():
    frame = records(1)
    encoders = [MetadataEncoder(("site",)).fit(no_site(frame, site)) for site in ("torso", "lower extremity")]
    common = common_encoder(encoders)
    assert "site=torso" in common.feature_names
    assert "site=lower extremity" in common.feature_names
    matrix, shift = translation(common, common)
    np.testing.assert_array_equal(matrix, np.eye(common.width))
    assert not shift.any()


def test_a_level_that_a_fold_has_not_seen_is_unknown_to_it():
    frame = records(1)
    own = MetadataEncoder(("site",)).fit(no_site(frame, "torso"))
    common = common_encoder([own, MetadataEncoder(("site",)).fit(frame)])
    row = np.array([name == "site=torso" for name in common.feature_names], dtype="float64")
    found = row @ translation(common, own).matrix
    assert [name for name, value in zip(own.feature_names, found, strict=True) if value] == ["site=unknown"]
    assert found.sum() == pytest.approx(1)
