"""Downloads: printed freely, run only with the licence accepted and with programs that are there (fake ones here)."""

import os
import shlex
import sys

import pytest

from melanomafusion import cli
from melanomafusion.data.fetch import fetch, list_downloads, read_download
from melanomafusion.data.sources.catalogue import SOURCES
from melanomafusion.errors import MelanomaFusionError, OutputError


@pytest.fixture
def shell(monkeypatch, capfd):
    """Run the command line in this process: (exit code, output, errors), those of programs included."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["melanomafusion", "data", "fetch", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """A PATH with nothing but fake programs; each notes its arguments."""
    folder, log = tmp_path / "bin", tmp_path / "calls.txt"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setitem(sys.modules, "kagglehub", None)  # not there, whatever is installed

    def add(name, code=0):
        path = folder / name
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> {shlex.quote(str(log))}\necho "{name} speaks"\nexit {code}\n')
        path.chmod(0o755)

    def calls():
        return log.read_text().splitlines() if log.exists() else []

    return add, calls


def test_every_download_names_programs_commands_and_a_source_that_loads_it():
    assert list_downloads() == ["ham10000", "isic-2019", "isic-archive", "siim-isic-2020"]
    for name in list_downloads():
        download = read_download(name, "some folder")
        assert download.ways
        for way in download.ways:
            assert way.load in SOURCES
            assert way.install
            assert {os.path.basename(command[0]) for command in way.commands} <= {
                os.path.basename(need.replace("{python}", sys.executable)) for need in way.needs
            }
            assert any("some folder" in word for command in way.commands for word in command)
            assert not any("{" in word for command in way.commands for word in command)
            addresses = [word for command in way.commands for word in command if "://" in word]
            assert all(word.startswith("https://") for word in addresses)


@pytest.mark.parametrize("name", ["ham10000", "isic-2019", "isic-archive", "siim-isic-2020"])
def test_printing_tells_licence_source_citation_and_commands_and_runs_nothing(shell, tools, tmp_path, name):
    add, calls = tools
    for tool in ("kaggle", "unzip", "curl", "isic"):
        add(tool)
    code, out, err = shell(name, "--out", tmp_path / "data")
    download = read_download(name, tmp_path / "data")
    assert (code, err) == (0, "")
    for text in (download.licence, download.source, download.citation, download.size, download.note):
        assert text in out
    for way in download.ways:
        for line in way.lines():
            assert line in out.splitlines()
    assert "Nothing was downloaded" in out
    assert calls() == []
    assert not (tmp_path / "data").exists()


def test_commands_are_quoted_for_the_shell(tmp_path):
    way = read_download("isic-archive", "my data; rm -rf x").ways[0]
    assert way.lines() == ["isic image download 'my data; rm -rf x'"]
    assert shlex.split(way.lines()[0]) == list(way.commands[0])


def test_without_the_licence_accepted_nothing_runs(shell, tools, tmp_path):
    add, calls = tools
    add("isic")
    code, _, err = shell("isic-archive", "--out", tmp_path / "data", "--run")
    assert code == 1
    assert "CC-BY-NC" in err
    assert "--accept-licence" in err
    assert calls() == []
    with pytest.raises(MelanomaFusionError, match="accept_licence=True"):
        fetch("isic-archive", tmp_path)


def test_accepting_the_licence_alone_runs_nothing(shell, tools, tmp_path):
    add, calls = tools
    add("isic")
    assert shell("isic-archive", "--out", tmp_path / "data", "--accept-licence")[0] == 0
    assert calls() == []


def test_the_commands_run_in_order_and_the_next_step_is_told(shell, tools, tmp_path):
    add, calls = tools
    add("curl")
    add("unzip")
    out_folder = tmp_path / "my data"
    code, out, err = shell("isic-2019", "--out", out_folder, "--run", "--accept-licence")
    assert (code, err) == (0, "")
    way = read_download("isic-2019", out_folder).ways[0]
    assert calls() == [" ".join(command) for command in way.commands]
    for line in way.lines():
        assert f"$ {line}" in out
    assert out.count("curl speaks") == 3
    assert "Next: melanomafusion data verify --source isic-2019" in out


def test_the_first_way_whose_programs_are_there_is_gone(tools, tmp_path):
    add, calls = tools
    add("isic")
    way = fetch("siim-isic-2020", tmp_path / "data", accept_licence=True)
    assert way.load == "isic-archive"
    assert calls() == [f"isic image download --collections 70 {tmp_path / 'data'}"]
    add("unzip")
    add("kaggle")
    assert fetch("siim-isic-2020", tmp_path / "data", accept_licence=True).needs == ("kaggle", "unzip")


def test_half_of_what_a_way_needs_is_not_enough(shell, tools, tmp_path):
    add, calls = tools
    add("curl")
    code, _, err = shell("ham10000", "--out", tmp_path / "data", "--run", "--accept-licence")
    assert code == 1
    assert "unzip is missing" in err
    assert calls() == []
    assert not (tmp_path / "data").exists()


def test_without_any_program_it_is_said_what_to_install(shell, tools, tmp_path):
    code, _, err = shell("siim-isic-2020", "--out", tmp_path / "data", "--run", "--accept-licence")
    assert code == 1
    for text in ("pip install kaggle", "kagglehub", "pip install isic-cli", "curl"):
        assert text in err


def test_a_package_of_this_python_counts_as_a_program(tools, tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.delitem(sys.modules, "kagglehub")
    (site / "kagglehub.py").write_text(
        "import pathlib\n"
        "def competition_download(name, output_dir):\n"
        "    pathlib.Path(output_dir, 'got').write_text(name)\n"
    )
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    way = fetch("siim-isic-2020", tmp_path / "it's here", accept_licence=True)
    assert way.name.startswith("kagglehub")
    assert (tmp_path / "it's here" / "got").read_text() == "siim-isic-melanoma-classification"


def test_a_command_that_fails_ends_it_with_one_message(shell, tools, tmp_path):
    add, calls = tools
    add("curl", code=22)
    add("unzip")
    code, _, err = shell("isic-2019", "--out", tmp_path / "data", "--run", "--accept-licence")
    assert code == 1
    assert "Command 1 of 4 failed with exit code 22: curl -fL" in err
    assert len(calls()) == 1


def test_a_program_that_cannot_be_started_is_told(tools, tmp_path):
    add, _ = tools
    add("isic")
    (tmp_path / "bin" / "isic").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(MelanomaFusionError, match="isic cannot be started"):
        fetch("isic-archive", tmp_path / "data", accept_licence=True)


def test_a_folder_that_cannot_be_written_is_refused_before_anything_runs(tools, tmp_path):
    add, calls = tools
    add("isic")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        fetch("isic-archive", tmp_path / "file" / "data", accept_licence=True)
    assert calls() == []


def test_an_unknown_data_set_is_refused_with_those_known(shell, tmp_path):
    code, _, err = shell("imagenet", "--out", tmp_path)
    assert code == 1
    assert "isic-2019" in err
    assert "'imagenet'" in err
