"""`melanomafusion ensemble` and `evaluate`: from files of scores alone; TensorFlow is not loaded."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..errors import PredictionsError
from .app import AsJson, app, console
from .members import MemberFile, read_metadata, read_named

if TYPE_CHECKING:
    from ..ensemble.ensemble import Ensemble
    from ..predictions import Predictions


class Method(StrEnum):
    """Kinds of ensemble."""

    mean = "mean"
    geometric_mean = "geometric-mean"
    power_mean = "power-mean"
    logit_mean = "logit-mean"
    rank_mean = "rank-mean"
    weighted = "weighted"
    stacking = "stacking"


class Search(StrEnum):
    """How weights are searched."""

    greedy = "greedy"
    simplex = "simplex"


class Objective(StrEnum):
    """What the search maximises."""

    auc = "auc"
    partial_auc = "partial-auc"
    average_precision = "average-precision"
    log_loss = "log-loss"


class KindOption(StrEnum):
    """What a file of scores holds."""

    oof = "oof"
    held_out = "held-out"
    test = "test"


# Option → the methods that look at it.
_METHODS_OF = {
    "ranks": (Method.weighted, Method.stacking),
    "within_fold": (Method.rank_mean, Method.weighted, Method.stacking),
    "power": (Method.power_mean,),
    "search": (Method.weighted,),
    "objective": (Method.weighted,),
    "max_members": (Method.weighted,),
    "features": (Method.stacking,),
    "nonnegative": (Method.stacking,),
}

MetadataOption = Annotated[Path | None, typer.Option("--metadata", help="CSV with image_name and metadata.")]


@app.command()
def ensemble(
    context: typer.Context,
    members: Annotated[list[str], typer.Argument(help="[NAME=]FILE[:SCORE[:FOLD]] or run folders.")],
    out: Annotated[Path, typer.Option(help="Folder for oof.csv, ensemble.json and the diagnosis.")],
    method: Method = Method.mean,
    weights: Annotated[str | None, typer.Option(help="Given weights, e.g. a=0.6,b=0.4: nothing is fitted.")] = None,
    ranks: Annotated[bool, typer.Option("--ranks", help="Weighted, stacking: on ranks.")] = False,
    within_fold: Annotated[bool, typer.Option("--within-fold", help="Ranks within fold.")] = False,
    power: Annotated[float, typer.Option(help="Of the power mean.")] = 2.0,
    search: Search = Search.greedy,
    objective: Objective = Objective.auc,
    max_members: Annotated[int | None, typer.Option(help="Weighted: keep at most so many.")] = None,
    features: Annotated[str | None, typer.Option(help="Stacking: metadata too, e.g. sex,age,site.")] = None,
    metadata: MetadataOption = None,
    nonnegative: Annotated[bool, typer.Option("--nonnegative", help="Stacking: no negative coefficient.")] = False,
    missing: Annotated[str, typer.Option(help="error, or intersect: keep the common records.")] = "error",
    member_column: Annotated[str | None, typer.Option(help="One long table: the column that names members.")] = None,
    diagnostics: Annotated[bool, typer.Option(help="What each member is worth; fits many ensembles.")] = True,
    as_json: AsJson = False,
) -> None:
    """Combine scores and say honestly what it brought: fitted weights are scored in nested patient folds."""
    from ..ensemble.stacking import with_metadata
    from ..ensemble.weighted import WeightedEnsemble
    from ..predictions import read_members

    _check_options(context, method, weights)
    if member_column is not None and len(members) != 1:
        raise typer.BadParameter("--member-column reads one table.")
    files: dict[str, MemberFile] = {}
    if member_column is not None:
        read = read_members(members[0], member=member_column)
    else:
        read, files = read_named(members)
    scale = "rank_within_fold" if within_fold else "rank" if ranks else "score"
    options: dict[str, Any] = {"missing": missing}
    if method is Method.power_mean:
        options["power"] = power
    elif method is Method.rank_mean:
        options["within_fold"] = within_fold
    elif method is Method.weighted:
        options |= {"search": search.value, "objective": objective.value.replace("-", "_"), "scale": scale}
        options["max_members"] = max_members
    elif method is Method.stacking:
        chosen = tuple(features.split(",")) if features else ()
        options |= {"on": "logit" if scale == "score" else scale, "features": chosen, "nonnegative": nonnegative}
    if weights is not None:
        kind: Ensemble = WeightedEnsemble.from_weights(_weights(weights), missing=missing)
    else:
        from ..ensemble.catalogue import METHODS

        kind = METHODS[method.value](**options)
    if metadata is not None:
        read = with_metadata(read, read_metadata(metadata))
    if all(member.kind == "test" for member in read.values()):
        if as_json:
            raise typer.BadParameter("--json tells the diagnosis, and these files hold test scores without truth.")
        _blend(kind, read, out)
        return
    _fit(kind, read, files, out, diagnostics, as_json)


def _check_options(context: typer.Context, method: Method, weights: str | None) -> None:
    """Refuse options that the method would pass over."""
    if weights is not None and method not in (Method.mean, Method.weighted):
        raise typer.BadParameter(f"--weights makes a weighted mean; leave --method {method.value} out.")
    for name, methods in _METHODS_OF.items():
        source, option = context.get_parameter_source(name), f"--{name.replace('_', '-')}"
        if source is None or source.name != "COMMANDLINE":
            continue
        if weights is not None:
            raise typer.BadParameter(f"{option}: --weights combines the scores as they are, and fits nothing.")
        if method not in methods:
            belongs = " or ".join(one.value for one in methods)
            raise typer.BadParameter(f"{option} is for --method {belongs}. Received: --method {method.value}")


def _blend(kind: Ensemble, read: dict[str, Predictions], out: Path) -> None:
    """Test scores have no truth: only what learns nothing can combine them."""
    from ..atomic import make_folder

    if kind.needs_fit or kind.scale != "score":
        raise PredictionsError(
            "These files hold test scores without truth, so nothing can be learnt from them. Give --weights or a "
            "mean; or fit on out-of-fold files (fold and target) and use submit --scores."
        )
    combined = kind.predict(read)
    make_folder(out)
    combined.write_submission(out / "submission.csv")
    file = out / "submission.csv"
    console.print(f"Wrote {len(combined):,} scores of {len(read)} members to {file}. Without truth there is no AUC.")


def _fit(
    kind: Ensemble,
    read: dict[str, Predictions],
    files: dict[str, MemberFile],
    out: Path,
    diagnostics: bool,
    as_json: bool,
) -> None:
    from ..console import print_diagnosis
    from ..ensemble.diagnostics import diagnose
    from ..ensemble.files import write_ensemble
    from ..progress import progress_bar

    screen = Console(stderr=True, highlight=False) if as_json else console
    with progress_bar(screen, "diagnosis" if diagnostics else "fit") as on_event:
        diagnosis = diagnose(kind, read, parts=diagnostics, on_event=on_event)
    kind.fit(read)
    runs = {name: str(f.path) for name, f in files.items() if (f.path / "recipe.json").is_file()}
    runs |= {name: str(f.path.parent) for name, f in files.items() if (f.path.parent / "recipe.json").is_file()}
    write_ensemble(kind, diagnosis, runs, out)
    if as_json:
        typer.echo(json.dumps(diagnosis.to_dict(), indent=2))
        return
    print_diagnosis(console, diagnosis)
    console.print(f"Wrote {out}: oof.csv, ensemble.json, diagnosis.json and figures.")


@app.command()
def evaluate(
    oof: Annotated[str, typer.Argument(help="FILE[:SCORE[:FOLD]] or a run folder.")],
    against: Annotated[str | None, typer.Option(help="Another one, compared in pairs.")] = None,
    metadata: MetadataOption = None,
    subgroup: Annotated[list[str] | None, typer.Option(help="Columns for subgroups; repeat.")] = None,
    threshold: Annotated[float | None, typer.Option(help="Operating threshold chosen elsewhere.")] = None,
    kind: Annotated[KindOption | None, typer.Option(help="What the file holds, where it does not say.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, metrics.json and figures.")] = None,
    resamples: int = 2000,
    as_json: AsJson = False,
) -> None:
    """Ranking with intervals, calibration, thresholds, subgroups; a paired comparison; a report to print."""
    from ..console import print_evaluation
    from ..evaluation.summary import evaluate as run

    named = [oof, *([against] if against else [])]
    word = None if kind is None else kind.value.replace("-", "_")
    read, _ = read_named(named, word)  # type: ignore[arg-type]
    first, *others = read.values()
    result = run(
        first,
        data=None if metadata is None else read_metadata(metadata),
        subgroups=subgroup or None,
        threshold=threshold,
        against=others[0] if others else None,
        resamples=resamples,
    )
    if out is not None:
        result.write(out)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
        return
    print_evaluation(console, result)
    if out is not None:
        console.print(f"Wrote {out}: report.html, metrics.json and figures.")


def _weights(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, equals, value = part.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise PredictionsError(f"--weights takes a=0.6,b=0.4. Received: {part!r}")
    return found
