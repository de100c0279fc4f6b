"""Sources by name give what their own functions give."""

import pandas as pd
import pytest

from melanomafusion.data.sources.catalogue import SOURCES, load_source
from melanomafusion.data.sources.siim_isic_2020 import load_siim_isic_2020
from melanomafusion.errors import TableError
from melanomafusion.testing import make_siim_isic


def test_siim_isic_2020_by_name(tmp_path):
    make_siim_isic(tmp_path, n_patients=6, n_test_patients=2, image_size=8, prevalence=0.4)
    for split in ("train", "test"):
        pd.testing.assert_frame_equal(
            load_source("siim-isic-2020", tmp_path, split=split).frame,
            load_siim_isic_2020(tmp_path, split=split).frame,
        )


def test_folders_and_csv_by_name(tmp_path):
    for name in ("melanoma", "nevus"):
        (tmp_path / "folders" / name).mkdir(parents=True)
        (tmp_path / "folders" / name / f"{name}.jpg").write_bytes(b"")
    assert load_source("folders", tmp_path / "folders").targets.tolist() == [1, 0]
    table = tmp_path / "table.csv"
    table.write_text("image,target\na,1\nb,0\n")
    assert load_source("csv", table).targets.tolist() == [1, 0]
    assert not load_source("csv", table, split="test").has_target


def test_an_unknown_source_is_refused_with_those_known(tmp_path):
    with pytest.raises(TableError, match="'imagenet' is unknown") as caught:
        load_source("imagenet", tmp_path)
    assert all(name in str(caught.value) for name in SOURCES)


@pytest.mark.parametrize("source", ["isic-2019", "ham10000", "folders"])
def test_a_split_that_a_source_does_not_have_is_refused(tmp_path, source):
    with pytest.raises(TableError, match=f"{source} has no split 'test'"):
        load_source(source, tmp_path, split="test")
