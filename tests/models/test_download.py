"""Downloads from a server of our own: with and without Range, cut off, altered, missing, two processes at once."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading

import pytest

from melanomafusion.errors import OutputError, WeightsError
from melanomafusion.models import download as module
from melanomafusion.models.download import WeightsFile, cache_folder, download

CONTENT = bytes(range(256)) * 8000  # 2 MB
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at /weights.h5; what it does besides is set by the test."""

    daemon_threads = True
    ranges, cut_after, content, length, wrong_start = True, None, CONTENT, True, False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []

    def file(self, digest=MD5, name="weights.h5"):
        return WeightsFile(f"http://127.0.0.1:{self.server_port}/{name}", name, digest)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if self.path != "/weights.h5":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        body = server.content if server.wrong_start else server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            first = 0 if server.wrong_start else start
            self.send_header("Content-Range", f"bytes {first}-{len(server.content) - 1}/{len(server.content)}")
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if server.cut_after is None else body[: server.cut_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def part(tmp_path):
    return tmp_path / ".weights.h5.part"


def files(folder):
    """What is in the folder but for the lock."""
    return sorted(file.name for file in folder.iterdir() if not file.name.endswith(".lock"))


@pytest.mark.parametrize("digest", [MD5, SHA256, MD5.upper()])
def test_a_file_is_downloaded_once(server, tmp_path, digest):
    path = download(server.file(digest), tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / "weights.h5"
    assert path.read_bytes() == CONTENT
    assert download(server.file(digest), str(tmp_path / "new" / "cache")) == path
    assert server.asked == [None]
    assert files(path.parent) == ["weights.h5"]


def test_a_download_that_was_cut_off_goes_on_from_there(server, tmp_path, part):
    server.cut_after = 600_000
    with pytest.raises(WeightsError, match=r"cut off after 600,000 of 2,048,000 bytes.*try again"):
        download(server.file(), tmp_path)
    assert part.read_bytes() == CONTENT[:600_000]
    server.cut_after = None
    assert download(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=600000-"]
    assert files(tmp_path) == ["weights.h5"]


@pytest.mark.parametrize("change", ["ranges", "wrong_start"])
def test_a_server_that_cannot_go_on_is_asked_for_the_whole(server, tmp_path, part, change):
    part.write_bytes(CONTENT[:1000])
    setattr(server, change, change == "wrong_start")
    assert download(server.file(), tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_begun_anew(server, tmp_path, part):
    part.write_bytes(CONTENT + b"more")
    assert download(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=2048004-", None]


def test_a_part_that_is_whole_is_not_downloaded_again(server, tmp_path, part):
    part.write_bytes(CONTENT)
    assert download(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=2048000-"]


def test_another_hash_removes_the_file_and_names_both(server, tmp_path):
    wanted = "0" * 32
    with pytest.raises(WeightsError, match=f"its md5 is {MD5}, expected {wanted}. It was removed. Try again"):
        download(server.file(wanted), tmp_path)
    assert files(tmp_path) == []


def test_a_rotten_part_is_removed_and_the_next_try_begins_anew(server, tmp_path, part):
    part.write_bytes(b"x" * 1000)
    with pytest.raises(WeightsError, match="It was removed"):
        download(server.file(), tmp_path)
    assert download(server.file(), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-", None]


def test_a_damaged_copy_in_the_cache_is_downloaded_again(server, tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"damaged")
    assert download(server.file(), tmp_path).read_bytes() == CONTENT


def test_a_length_that_the_server_does_not_tell_is_left_to_the_hash(server, tmp_path):
    server.length = False
    assert download(server.file(), tmp_path).read_bytes() == CONTENT
    server.cut_after = 10
    with pytest.raises(WeightsError, match="It was removed"):
        download(server.file(SHA256), tmp_path / "other")


def test_a_missing_file_says_so_in_one_line(server, tmp_path):
    with pytest.raises(WeightsError, match=r"HTTP 404 Not Found. .*put the file there by hand: .*nowhere.h5") as error:
        download(server.file(name="nowhere.h5"), tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.h5", "http://no-such-host.invalid/x.h5", "http://[x/x.h5"])
def test_without_a_network_one_line_says_what_to_do(tmp_path, url):
    with pytest.raises(WeightsError, match=r"could not be downloaded: .*put the file there by hand") as error:
        download(WeightsFile(url, "x.h5", MD5), tmp_path)
    assert "\n" not in str(error.value)
    assert files(tmp_path) == []


def test_a_file_put_there_by_hand_needs_no_network(tmp_path):
    (tmp_path / "weights.h5").write_bytes(CONTENT)
    assert download(WeightsFile("http://127.0.0.1:9/", "weights.h5", SHA256), tmp_path).read_bytes() == CONTENT


def test_two_processes_download_once(server, tmp_path):
    file = server.file()
    code = f"from melanomafusion.models.download import *; print(download(WeightsFile{(file.url, file.name, MD5)!r}))"
    environment = {**os.environ, "MELANOMAFUSION_CACHE": str(tmp_path)}
    runs = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    answers = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert answers == [str(tmp_path / "weights.h5")] * 2
    assert server.asked == [None]
    assert (tmp_path / "weights.h5").read_bytes() == CONTENT


def test_a_second_download_waits_for_the_first(server, tmp_path):
    path = tmp_path / "weights.h5"
    waiting = threading.Thread(target=download, args=(server.file(), tmp_path))
    with module._lock(tmp_path / ".weights.h5.lock"):
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        path.write_bytes(CONTENT)
    waiting.join(10)
    assert server.asked == []


def test_the_cache_folder_is_the_given_one_the_variable_or_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("MELANOMAFUSION_CACHE", str(tmp_path / "variable"))
    assert cache_folder(tmp_path) == tmp_path
    assert cache_folder() == tmp_path / "variable"
    monkeypatch.setenv("MELANOMAFUSION_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "melanomafusion"


def test_a_folder_that_cannot_be_written_to_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="Cannot write"):
        download(server.file(), tmp_path / "file" / "cache")
    (tmp_path / "weights.h5").mkdir()
    with pytest.raises(OutputError, match=r"Cannot write .*weights.h5: Is a directory. .*MELANOMAFUSION_CACHE"):
        download(server.file(), tmp_path)


def test_a_registry_entry_that_cannot_work_names_every_problem():
    with pytest.raises(WeightsError, match=r"url='file:///etc/passwd'.*name='../x.h5'.*digest='abc'"):
        WeightsFile("file:///etc/passwd", "../x.h5", "abc")
    with pytest.raises(WeightsError, match="digest="):
        WeightsFile("https://x/y", "y", "g" * 32)


def test_progress_is_shown_on_a_terminal_alone(server, tmp_path, capsys):
    download(server.file(), tmp_path)
    assert capsys.readouterr() == ("", "")
