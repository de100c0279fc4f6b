"""Tasks in processes of their own: values, events, errors and crashes come back in words."""

import os
import signal
import threading
import time

import pytest

from melanomafusion.errors import BundleError, ImageError, RunError
from melanomafusion.execution.local import LocalExecutor, run_tasks
from melanomafusion.execution.task import Task, run_task

TASKS = """
import os, subprocess, sys, time
from melanomafusion.errors import BundleError, ImageError, TableError

def give_back(*, on_event, **arguments):
    return arguments

def process_id(*, on_event):
    return os.getpid()

def count(*, on_event, to):
    for i in range(to):
        on_event({"kind": "count", "i": i})
    return to

def print_much(*, on_event):
    print('{"kind": "result", "value": "printed"}')
    on_event({"kind": "first"})
    os.write(1, b"straight to the file\\n")
    print("x" * 200_000)
    subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
    print("to standard error", file=sys.stderr)
    on_event({"kind": "second"})
    return "returned"

def fail(*, on_event, kind, message):
    on_event({"kind": "before"})
    raise {"image": ImageError, "bundle": BundleError}[kind](message)

def fail_on_a_table(*, on_event):
    raise TableError("train.csv", ["row 2: no", "row 3: neither"])

def stumble(*, on_event):
    return 1 / 0

def crash(*, on_event, code):
    on_event({"kind": "before"})
    print("last words before the end", flush=True)
    os._exit(code)

def give_back_a_set(*, on_event):
    return {1, 2}

def sleep(*, on_event):
    on_event({"kind": "awake", "pid": os.getpid()})
    time.sleep(60)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs one of the functions above; `run.log` is what it printed."""
    (tmp_path / "tasks_of_the_test.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    log = tmp_path / "logs" / "task.log"

    def call(function, on_event=None, **arguments):
        return run_task(Task("fold 3", f"tasks_of_the_test:{function}", arguments, log), on_event)

    call.log = log
    return call


def test_value_comes_back(run):
    value = {"text": "größer ≥ 1\n", "numbers": [1, 2.5, None, True], "deep": {"a": {"b": []}}}
    assert run("give_back", value=value) == {"value": value}


def test_floats_come_back_to_the_last_bit(run):
    values = [0.1 + 0.2, 1e-300, 1 / 3]
    assert run("give_back", values=values)["values"] == values


def test_task_runs_in_another_process(run):
    assert run("process_id") != os.getpid()


def test_function_of_the_standard_library_will_not_do_without_on_event(run):
    with pytest.raises(RunError, match="on_event"):
        run_task(Task("t", "json:loads", {"s": "1"}, run.log))


def test_events_arrive_in_order(run):
    events = []
    assert run("count", events.append, to=200) == 200
    assert events == [{"kind": "count", "i": i} for i in range(200)]


def test_events_need_no_listener(run):
    assert run("count", to=3) == 3


def test_printing_does_not_disturb_and_goes_to_the_log(run):
    events = []
    assert run("print_much", events.append) == "returned"
    assert [event["kind"] for event in events] == ["first", "second"]
    log = run.log.read_text(encoding="utf-8")
    for text in ("straight to the file", "from a child", "to standard error", '"value": "printed"', "x" * 200_000):
        assert text in log


@pytest.mark.parametrize(("kind", "wanted"), [("image", ImageError), ("bundle", BundleError)])
def test_error_of_the_library_keeps_its_type_and_message(run, kind, wanted):
    events = []
    message = "a.jpg: damaged ('größer')\nsecond line"
    with pytest.raises(wanted) as error:
        run("fail", events.append, kind=kind, message=message)
    assert type(error.value) is wanted
    assert str(error.value) == message
    assert events == [{"kind": "before"}]


def test_table_error_keeps_its_message(run):
    with pytest.raises(RunError) as error:
        run("fail_on_a_table")
    for part in ("train.csv: 2 problems", "row 2: no", "row 3: neither"):
        assert part in str(error.value)


def test_other_errors_name_the_log_and_show_its_end(run):
    with pytest.raises(RunError) as error:
        run("stumble")
    for part in ("fold 3 ended with exit code 1", str(run.log), "ZeroDivisionError"):
        assert part in str(error.value)


def test_crash_names_the_log_and_shows_its_end(run):
    events = []
    with pytest.raises(RunError) as error:
        run("crash", events.append, code=3)
    for part in ("fold 3 ended with exit code 3", str(run.log), "last words before the end"):
        assert part in str(error.value)
    assert events == [{"kind": "before"}]


def test_end_without_a_result_is_an_error_even_with_exit_code_zero(run):
    with pytest.raises(RunError, match="exit code 0"):
        run("crash", code=0)


@pytest.mark.parametrize("function", ["no_such_function", "give_back_a_set"])
def test_what_cannot_be_called_or_told_is_a_run_error(run, function):
    with pytest.raises(RunError, match="fold 3 ended"):
        run(function)


def test_unknown_module_is_a_run_error(run):
    with pytest.raises(RunError, match="no_such_module"):
        run_task(Task("t", "no_such_module:f", {}, run.log))


def test_log_begins_anew_with_each_task(run):
    run("print_much")
    run("give_back")
    assert "from a child" not in run.log.read_text(encoding="utf-8")


def test_process_is_ended_when_the_listener_fails(run):
    seen = []

    def listener(event):
        seen.append(event["pid"])
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run("sleep", listener)
    assert time.monotonic() - start < 30
    with pytest.raises(ProcessLookupError):
        os.kill(seen[0], 0)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Makes tasks of the functions above: (function, arguments) … → list."""
    (tmp_path / "tasks_of_the_test.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(*calls):
        return [
            Task(f"task {number}", f"tasks_of_the_test:{name}", arguments, tmp_path / f"{number}.log")
            for number, (name, arguments) in enumerate(calls)
        ]

    return make


def gone(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


def test_results_come_in_the_order_of_the_tasks(tasks):
    calls = [("give_back", {"number": number}) for number in range(3)]
    assert run_tasks(tasks(*calls)) == [{"number": number} for number in range(3)]


def test_no_tasks_are_no_work():
    assert run_tasks([]) == []


def test_events_of_all_tasks_arrive_and_never_two_at_once(tasks):
    inside, seen = threading.Lock(), []

    def listener(event):
        assert inside.acquire(blocking=False), "called twice at once"
        time.sleep(0.001)
        seen.append(event["i"])
        inside.release()

    run_tasks(tasks(("count", {"to": 300}), ("count", {"to": 300})), listener)
    assert sorted(seen) == sorted([*range(300), *range(300)])


def test_the_first_error_in_order_is_raised_after_all_have_ended(tasks):
    calls = [
        ("count", {"to": 3}),
        ("fail", {"kind": "bundle", "message": "the second"}),
        ("fail", {"kind": "image", "message": "the third"}),
    ]
    events = []
    with pytest.raises(BundleError, match="the second"):
        run_tasks(tasks(*calls), events.append)
    assert [event["kind"] for event in events].count("count") == 3


def test_a_task_that_dies_is_named_with_its_log(tasks):
    with pytest.raises(RunError) as error:
        run_tasks(tasks(("count", {"to": 1}), ("crash", {"code": 9})))
    for part in ("task 1 ended with exit code 9", "1.log", "last words"):
        assert part in str(error.value)


def test_a_killed_process_is_named_with_its_signal(tasks):
    with pytest.raises(RunError, match=r"task 0 was killed \(SIGKILL\).*memory"):
        run_tasks(tasks(("sleep", {})), lambda event: os.kill(event["pid"], signal.SIGKILL))


def test_a_process_that_dies_before_it_reads_its_call_is_a_run_error(tasks):
    def kill(process):
        process.kill()
        process.wait()

    with pytest.raises(RunError, match="SIGKILL"):
        run_task(tasks(("sleep", {}))[0], on_start=kill)


def test_ctrl_c_ends_all_processes(tasks, ctrl_c):
    awake = []

    def listener(event):
        awake.append(event["pid"])
        if len(awake) == 2:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_tasks(tasks(("sleep", {}), ("sleep", {})), listener)
    assert time.monotonic() - began < 30
    assert len(awake) == 2
    assert all(map(gone, awake))


def test_a_listener_that_fails_ends_the_process_it_listened_to(tasks):
    awake = []

    def listener(event):
        awake.append(event["pid"])
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        run_tasks(tasks(("sleep", {})), listener)
    assert all(map(gone, awake))


def test_the_last_task_has_the_share_it_would_have_beside_others(tmp_path, monkeypatch):
    (tmp_path / "threads_of_the_test.py").write_text(
        "import os\ndef threads(*, on_event):\n    return os.environ.get('OMP_NUM_THREADS')\n", encoding="utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    task = Task("fold 3", "threads_of_the_test:threads", {}, tmp_path / "log.txt")
    cores = len(os.sched_getaffinity(0))
    assert LocalExecutor(2).run([task]) == LocalExecutor(2).run([task, task])[:1] == [str(max(1, cores // 2))]
    assert LocalExecutor(1).run([task]) == [None]


@pytest.mark.parametrize("workers", [0, -1])
def test_fewer_than_one_worker_is_refused(workers):
    with pytest.raises(RunError, match=f"workers={workers}"):
        LocalExecutor(workers)
