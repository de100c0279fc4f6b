"""The bar of long work: shown on a terminal, with speed; silent in a file or a pipe."""

import io
import re
import time

import pytest
from rich.console import Console

from melanomafusion.progress import progress_bar


def screen(terminal=True):
    """A console that keeps what it shows."""
    return Console(file=io.StringIO(), force_terminal=terminal, width=120, _environ={"TERM": "xterm-256color"})


def shown(console):
    """The text without colours and cursor movements."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def test_a_terminal_sees_label_count_and_speed():
    console = screen()
    with progress_bar(console, "preparing", unit="images") as on_event:
        for done in range(0, 1001, 250):
            on_event({"kind": "prepare", "done": done, "total": 1000})
            time.sleep(0.11)
    for part in (r"preparing", r"1000/1000", r"[\d,]+ images/s"):
        assert re.search(part, shown(console)), part


def test_nothing_is_written_where_nobody_looks():
    console = screen(terminal=False)
    with progress_bar(console, "preparing", unit="images") as on_event:
        on_event({"done": 1, "total": 2})
    assert console.file.getvalue() == ""


def test_without_a_unit_there_is_no_speed():
    console = screen()
    with progress_bar(console, "checking") as on_event:
        for done in (1, 2):
            on_event({"done": done, "total": 2})
            time.sleep(0.11)
    assert "2/2" in shown(console)
    assert "/s" not in shown(console)


def test_what_is_done_is_said_where_there_are_several_things():
    console = screen()
    with progress_bar(console, "audit") as on_event:
        on_event({"done": 1, "total": 3, "what": "hashes"})
        time.sleep(0.11)
    assert "audit: hashes" in shown(console)


@pytest.mark.parametrize("event", [{}, {"kind": "images", "images": 8}, {"done": 3}, {"total": 3}])
def test_events_of_another_kind_change_nothing(event):
    console = screen()
    with progress_bar(console, "preparing", unit="images") as on_event:
        on_event({"done": 5, "total": 9})
        on_event(event)
    assert "5/9" in shown(console)


def work_and_fail(console):
    with progress_bar(console, "preparing") as on_event:
        on_event({"done": 1, "total": 2})
        raise ValueError("mine")


def test_the_bar_goes_away_and_the_error_stays():
    console = screen()
    with pytest.raises(ValueError, match="mine"):
        work_and_fail(console)
    erase_line = "\x1b[2K"
    assert erase_line in console.file.getvalue()[-20:]
