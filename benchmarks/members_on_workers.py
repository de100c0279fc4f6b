"""Six small members of a plan on two Ray workers, and the same on one: wall time of both.

    python benchmarks/members_on_workers.py --patients 120

Each worker is a node of one core, so that two of them have twice the machine of one. Scores are compared, too.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import ray
from ray.cluster_utils import Cluster

import melanomafusion as mf
from melanomafusion.testing import make_siim_isic

MEMBERS = 6


def seconds(plan: mf.EnsemblePlan, data: mf.Dataset, out: Path, nodes: int) -> tuple[float, mf.TrainedPlan]:
    """Wall time of the plan on a cluster of so many nodes."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        started = time.perf_counter()
        trained = mf.train_plan(plan, data, out=out, executor=mf.RayExecutor(), on_event=lambda event: None)
        return time.perf_counter() - started, trained
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> None:
    """Run both and print their times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    tiny = mf.get_recipe("tiny").replace(epochs=options.epochs, image_size=64)
    plan = mf.EnsemblePlan(tuple(tiny.replace(name=f"seed{seed}", seed=seed) for seed in range(MEMBERS)))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_siim_isic(root / "data", n_patients=options.patients, image_size=64, prevalence=0.2)
        data = mf.assign_folds(mf.load_siim_isic_2020(root / "data"), 2)
        two, on_two = seconds(plan, data, root / "two", 2)
        one, on_one = seconds(plan, data, root / "one", 1)
        difference = max(
            float(np.abs(on_two.members[name].oof.scores - on_one.members[name].oof.scores).max())
            for name in on_one.members
        )
    print(f"{MEMBERS} members × 2 folds of {len(data):,} records, one core a worker")
    print(f"two workers {two:.0f} s, one worker {one:.0f} s, ratio {one / two:.2f}; scores differ by {difference:.1g}")


if __name__ == "__main__":
    main()
