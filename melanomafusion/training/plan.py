"""`train_plan`: the members of an ensemble, trained until the next one no longer pays, and combined."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..atomic import atomic_file, make_folder
from ..data.dataset import Dataset
from ..ensemble.averages import MeanEnsemble
from ..ensemble.diagnostics import Diagnosis, diagnose
from ..ensemble.ensemble import Ensemble
from ..ensemble.files import write_ensemble
from ..ensemble.weighted import WeightedEnsemble
from ..errors import MelanomaFusionError, RunError
from ..evaluation.metrics import roc_auc
from ..execution.local import LocalExecutor
from ..execution.ray import RayExecutor
from ..predictions import Predictions
from ..recipes.plan import ENSEMBLE, EnsemblePlan
from ..recipes.recipe import Recipe
from ..run_progress import OnEvent, shown
from .checks import check_run
from .cross_validation import cross_validate
from .extra import Extra
from .results import CrossValidation


@dataclass(frozen=True)
class TrainedPlan:
    """What became of a plan.

    Attributes:
        path: folder: a run for each member, curve.csv, and ensemble/ (what the `ensemble` command writes).
        members: name → its run, in the order of the plan.
        curve: a row per member as it came in: member, its own auc, ensemble_auc (nested), gain (none of the first).
        left_out: names of members that were not trained, because the one before them did not pay.
        diagnosis: of the ensemble; None of one member.
    """

    path: Path
    members: dict[str, CrossValidation]
    curve: pd.DataFrame
    left_out: list[str]
    diagnosis: Diagnosis | None


def train_plan(
    plan: EnsemblePlan,
    dataset: Dataset,
    *,
    out: str | Path,
    workers: int = 1,
    executor: LocalExecutor | RayExecutor | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> TrainedPlan:
    """Train every member of a plan over the same folds, and combine them as it says.

    Members are trained in their order; on a Ray cluster, where none may be left out, all at once. Started again, it
    goes on where it was.

    Args:
        plan: the members, and when to stop.
        dataset: records with folds.
        out: folder.
        workers, executor: where folds are trained, as for `cross_validate`.
        on_event: called with progress events, which name their member as "run"; they are shown without it.
        options: further arguments of `cross_validate`, the same for all members; `folds` are two or more.

    Raises:
        MelanomaFusionError: wrong set-up of any member, found before the first is trained; a member that failed.
    """
    _check(plan, dataset, options.get("extra"), options.get("folds"))
    out, executor = make_folder(out), executor or LocalExecutor(workers)
    lock = threading.Lock()
    with shown(on_event, "plan") as report:

        def train(recipe: Recipe) -> CrossValidation:
            def tell(event: dict[str, Any]) -> None:
                with lock:
                    report({"run": recipe.name, **event})

            return cross_validate(recipe, dataset, out=out / recipe.name, executor=executor, on_event=tell, **options)

        members: dict[str, CrossValidation] = {}
        rows: list[dict[str, Any]] = []
        if isinstance(executor, RayExecutor) and plan.stop_below is None:
            executor = dataclasses.replace(executor)  # it may be cancelled, and the caller's is not
            with ThreadPoolExecutor(len(plan.recipes)) as pool:
                try:
                    trained = list(pool.map(train, plan.recipes))
                except BaseException:
                    executor.cancel()
                    raise
        else:
            trained = None
        for number, recipe in enumerate(plan.recipes):
            members[recipe.name] = trained[number] if trained else train(recipe)
            rows.append(_row(members, rows, plan))
            report({"kind": "member", **rows[-1]})
            if plan.stop_below is not None and number and rows[-1]["gain"] < plan.stop_below:
                break
        curve = pd.DataFrame(rows)
        with atomic_file(out / "curve.csv") as part:
            curve.to_csv(part, index=False, lineterminator="\n")
        diagnosis = _combine(members, plan, out / ENSEMBLE) if len(members) > 1 else None
    left_out = [recipe.name for recipe in plan.recipes if recipe.name not in members]
    return TrainedPlan(out, members, curve, left_out, diagnosis)


def _check(plan: EnsemblePlan, dataset: Dataset, extra: Extra | None, folds: Sequence[int] | None) -> None:
    problems = []
    if len(plan.recipes) > 1 and folds is not None and len(set(folds)) < 2:
        problems.append(
            f"An ensemble is scored in nested folds: a plan needs two or more. Received: folds={list(folds)}"
        )
    for recipe in plan.recipes:
        try:
            check_run(recipe, dataset, extra=extra)
        except MelanomaFusionError as error:
            problems.append(f"{recipe.name}: {error}")
    if problems:
        raise RunError("\n".join(problems))


def _ensemble(plan: EnsemblePlan) -> Ensemble:
    return MeanEnsemble() if plan.combine == "mean" else WeightedEnsemble()


def _row(members: Mapping[str, CrossValidation], before: list[dict[str, Any]], plan: EnsemblePlan) -> dict[str, Any]:
    """What the newest member brought; weights are searched and scored in nested folds."""
    oof = _oof(members)
    *_, (name, newest) = oof.items()
    own = roc_auc(newest.targets, newest.scores)
    together = _ensemble(plan).cross_val_predict(oof) if len(oof) > 1 else newest
    auc = roc_auc(together.targets, together.scores)
    gain = auc - before[-1]["ensemble_auc"] if before else None
    return {"member": name, "auc": own, "ensemble_auc": auc, "gain": gain}


def _combine(members: Mapping[str, CrossValidation], plan: EnsemblePlan, folder: Path) -> Diagnosis:
    oof = _oof(members)
    ensemble = _ensemble(plan)
    diagnosis = diagnose(ensemble, oof)
    ensemble.fit(oof)
    write_ensemble(ensemble, diagnosis, {name: str(cv.path) for name, cv in members.items()}, folder)
    return diagnosis


def _oof(members: Mapping[str, CrossValidation]) -> dict[str, Predictions]:
    return {name: cv.oof for name, cv in members.items()}
