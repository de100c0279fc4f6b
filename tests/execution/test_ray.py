"""A real Ray cluster of several nodes on this machine; one of them is killed in the middle."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

import melanomafusion as mf
from melanomafusion.errors import ImageError, RunError
from melanomafusion.execution import stopping
from melanomafusion.execution.task import ProcessDied, Task
from melanomafusion.testing import make_siim_isic

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


@pytest.fixture(scope="module")
def cluster():
    """A head without cores and two nodes of one core each; tasks go to the two."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    started.add_node(num_cpus=1)
    started.add_node(num_cpus=1)
    ray.init(address=started.address, log_to_driver=False, configure_logging=False)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    make_siim_isic(root, n_patients=80, n_test_patients=6, image_size=32, prevalence=0.2, seed=1)
    return mf.assign_folds(mf.load_siim_isic_2020(root), 3)


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """Tasks whose functions lie in a module of the test."""
    (tmp_path / "raytasks.py").write_text(
        "import os, signal, time\n"
        "from melanomafusion.errors import ImageError\n"
        "def tell(*, on_event, value):\n"
        "    on_event({'kind': 'x', 'value': value, 'pid': os.getpid()})\n"
        "    return value\n"
        "def wrong(*, on_event):\n"
        "    raise ImageError('no such image')\n"
        "def die(*, on_event, marker):\n"
        "    if not os.path.exists(marker):\n"
        "        open(marker, 'w').close()\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return 'second time'\n"
        "def save(*, on_event, begun, saved):\n"
        "    def end(*_):\n"
        "        time.sleep(5)\n"
        "        open(saved, 'w').close()\n"
        "        raise SystemExit(75)\n"
        "    signal.signal(signal.SIGTERM, end)\n"
        "    open(begun, 'w').close()\n"
        "    time.sleep(60)\n"
        "def always(*, on_event):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"PYTHONPATH": str(tmp_path)}

    def make(name, **arguments):
        return Task(f"task {name}", f"raytasks:{name}", arguments, tmp_path / f"{name}.log", environment)

    return make


def test_results_and_events_come_back(cluster, tasks):
    events = []
    found = mf.RayExecutor().run([tasks("tell", value=[number, 0.1 + 0.2]) for number in range(4)], events.append)
    assert found == [[number, 0.1 + 0.2] for number in range(4)]
    assert sorted(event["value"][0] for event in events) == [0, 1, 2, 3]
    assert os.getpid() not in {event["pid"] for event in events}


def test_errors_keep_their_type_and_the_dead_are_begun_again(cluster, tasks, tmp_path):
    executor = mf.RayExecutor()
    with pytest.raises(ImageError, match="no such image"):
        executor.run([tasks("wrong"), tasks("tell", value=1)])
    wrong, fine = executor.run([tasks("wrong"), tasks("tell", value=1)], return_errors=True)
    assert isinstance(wrong, ImageError)
    assert fine == 1
    assert executor.run([tasks("die", marker=str(tmp_path / "marker"))], tries=2) == ["second time"]
    with pytest.raises(ProcessDied, match=r"task always was killed \(SIGKILL\)"):
        executor.run([tasks("always")], tries=2)


@pytest.mark.parametrize(("executor", "said"), [({"num_gpus": 8}, "8 GPUs"), ({"num_cpus": 500}, "500 cores")])
def test_tasks_that_no_node_can_hold_are_refused_rather_than_waited_for(cluster, tasks, executor, said):
    with pytest.raises(RunError, match=said):
        mf.RayExecutor(**executor).run([tasks("tell", value=1)])


def test_a_run_on_a_cluster_that_loses_a_node_ends_like_one_on_this_machine(cluster, folded, tmp_path):
    recipe = mf.get_recipe("tiny").replace(validation_fraction=0.3, batch_size=16, dropout=0.3, epochs=6)
    lost = cluster.add_node(num_cpus=1)
    events, killed = [], []

    def watch(event):
        events.append(event)
        if event["kind"] == "epoch" and event["epoch"] == 3 and not killed:
            killed.append(event["fold"])
            cluster.remove_node(lost, allow_graceful=False)

    executor = mf.RayExecutor()
    cv = mf.cross_validate(recipe, folded, out=tmp_path / "ray", executor=executor, on_event=watch)
    assert killed
    here = mf.cross_validate(recipe, folded, out=tmp_path / "here", workers=2, on_event=lambda event: None)
    assert list(cv.oof.frame["image_name"]) == list(here.oof.frame["image_name"])
    np.testing.assert_allclose(cv.oof.scores, here.oof.scores, atol=1e-4)
    assert {event["fold"] for event in events if event["kind"] == "epoch"} == {0, 1, 2}


def test_who_cancels_ends_tasks_that_save_first(cluster, tasks, tmp_path):
    executor, begun, saved = mf.RayExecutor(), tmp_path / "begun", tmp_path / "saved"

    def cancel():
        while not begun.exists():
            time.sleep(0.05)
        executor.cancel()

    threading.Thread(target=cancel).start()
    with pytest.raises(stopping.Stopped):
        executor.run([tasks("save", begun=str(begun), saved=str(saved))])
    assert saved.exists()


@pytest.mark.parametrize("numbers", [{"num_cpus": -1}, {"num_gpus": -1}, {"num_gpus": 1.5}])
def test_numbers_that_no_task_can_be_given_are_refused(numbers):
    with pytest.raises(RunError, match="Received: num_"):
        mf.RayExecutor(**numbers)


def test_ray_leaves_the_handler_of_sigterm_as_it_was(cluster):
    ray.shutdown()
    before = signal.getsignal(signal.SIGTERM)
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    own = signal.getsignal(signal.SIGTERM)
    try:
        assert mf.RayExecutor(cluster.address).per_machine >= 1
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, mine)
    assert signal.getsignal(signal.SIGTERM) == before


def test_shards_made_on_a_cluster_are_those_made_here(cluster, folded, tmp_path):
    plain = mf.Dataset(folded.frame.head(60))
    mf.prepare(plain, tmp_path / "here", image_size=16, shard_size=20, on_event=lambda event: None)
    mf.prepare(
        plain,
        tmp_path / "ray",
        image_size=16,
        shard_size=20,
        executor=mf.RayExecutor(),
        on_event=lambda event: None,
    )
    names = sorted(path.name for path in (tmp_path / "here").glob("*.parquet"))
    assert len(names) == 3
    for name in names:
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_without_a_cluster_the_message_says_how_to_start_one(cluster, tasks):
    ray.shutdown()
    try:
        with pytest.raises(RunError, match=r"No Ray cluster at '127\.0\.0\.1:1'.*ray start"):
            mf.RayExecutor("127.0.0.1:1").run([tasks("tell", value=1)])
    finally:
        ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
