"""A result is written whole or not at all."""

import json

import pytest

from melanomafusion.atomic import atomic_file, atomic_folder, make_folder, write_json, write_text
from melanomafusion.errors import MelanomaFusionError, OutputError


class Stop(Exception):
    """Stands for whatever ends the writing early."""


def everything(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None for path in folder.rglob("*")
    }


def test_a_file_appears_under_its_name_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "result.csv"
    with atomic_file(path) as part:
        part.write_text("new")
        assert part.parent == path.parent
        assert part.name.startswith(".")
        assert not path.exists()
    assert everything(tmp_path / "deep" / "er") == {"result.csv": "new"}


def test_a_file_is_replaced(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with atomic_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert everything(tmp_path) == {"result.csv": "new"}


def write_half(path, error):
    with atomic_file(path) as part:
        part.write_text("half")
        raise error


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, ValueError])
def test_writing_that_fails_half_way_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(error):
        write_half(path, error)
    assert everything(tmp_path) == {"result.csv": "old"}


def test_writing_that_fails_before_its_first_byte_leaves_nothing(tmp_path):
    with pytest.raises(Stop), atomic_file(tmp_path / "result.csv"):
        raise Stop
    assert everything(tmp_path) == {}


def test_a_full_disk_is_told_as_such_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.csv"
    path.write_text("old")
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_half(path, OSError(28, "No space left on device"))
    assert str(path) in str(caught.value)
    assert everything(tmp_path) == {"result.csv": "old"}


def test_a_folder_in_the_way_of_a_file_is_told_and_stays(tmp_path):
    (tmp_path / "result.csv").mkdir()
    (tmp_path / "result.csv" / "inside").write_text("old")
    with pytest.raises(OutputError, match=r"result\.csv"), atomic_file(tmp_path / "result.csv") as part:
        part.write_text("new")
    assert everything(tmp_path) == {"result.csv": None, "result.csv/inside": "old"}


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "result.csv"
    with atomic_file(path) as one, atomic_file(path) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    # The outer context ends last.
    assert everything(tmp_path) == {"result.csv": "one"}


def test_a_folder_appears_under_its_name_only_when_whole(tmp_path):
    path = tmp_path / "deep" / "bundle"
    with atomic_folder(path) as part:
        (part / "a").write_text("1")
        (part / "sub").mkdir()
        (part / "sub" / "b").write_text("2")
        assert not path.exists()
    assert everything(tmp_path / "deep") == {"bundle": None, "bundle/a": "1", "bundle/sub": None, "bundle/sub/b": "2"}


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    with atomic_folder(path) as part:
        (part / "new").write_text("new")
    assert everything(tmp_path) == {"bundle": None, "bundle/new": "new"}


def write_half_a_folder(path, error):
    with atomic_folder(path) as part:
        (part / "new").write_text("new")
        raise error


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_a_folder_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path, error):
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(error):
        write_half_a_folder(path, error)
    assert everything(tmp_path) == {"bundle": None, "bundle/old": "old"}


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write") as caught, atomic_folder(tmp_path / "file" / "bundle"):
        pass
    assert str(tmp_path / "file" / "bundle") in str(caught.value)
    assert everything(tmp_path) == {"file": "x"}


def test_a_folder_for_results_is_made_with_its_parents_and_left_empty(tmp_path):
    path = make_folder(tmp_path / "runs" / "b4")
    assert path.is_dir()
    assert list(path.iterdir()) == []
    # A folder that is there already stays as it is.
    (path / "old").write_text("old")
    assert make_folder(str(path)) == path
    assert everything(path) == {"old": "old"}


@pytest.mark.parametrize("below", ["file", "file/runs"])
def test_a_file_in_the_way_of_a_folder_is_told(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Choose a folder you may write to"):
        make_folder(tmp_path / below)
    assert everything(tmp_path) == {"file": "x"}


def test_text_is_utf_8_with_plain_line_ends(tmp_path):
    write_text(tmp_path / "note.txt", "naïve\nзнак\n")
    assert (tmp_path / "note.txt").read_bytes() == "naïve\nзнак\n".encode()


def test_json_is_indented_keeps_the_order_of_keys_and_ends_with_a_line_end(tmp_path):
    value = {"b": 1, "a": [1.5, None, True, "ü"]}
    write_json(tmp_path / "value.json", value)
    text = (tmp_path / "value.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert list(json.loads(text)) == ["b", "a"]
    assert text.startswith('{\n  "b": 1,')
    assert text.endswith("}\n")
    assert "ü" in text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_refuses_what_json_does_not_have_and_leaves_the_old_file(tmp_path, number):
    write_json(tmp_path / "value.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "value.json", {"auc": number})
    assert everything(tmp_path) == {"value.json": "1\n"}


def test_an_output_error_is_an_error_of_the_library():
    assert issubclass(OutputError, MelanomaFusionError)
