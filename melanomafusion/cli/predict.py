"""`melanomafusion export` and `melanomafusion predict`: from a trained run to scores of any image."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import MelanomaFusionError, OutputError
from ..notice import NOT_A_MEDICAL_DEVICE
from .app import AsJson, app, console
from .metadata_options import AgeOption, CsvOption, SexOption, SiteOption, check_used, given_fields, metadata_of

if TYPE_CHECKING:
    from ..deploy.prediction import Prediction
    from ..deploy.predictor import Predictor


class EngineOption(StrEnum):
    """What computes."""

    auto = "auto"
    onnxruntime = "onnxruntime"
    openvino = "openvino"
    openvino_bf16 = "openvino-bf16"
    keras = "keras"


class BadImages(StrEnum):
    """What to do about images that cannot be read."""

    error = "error"
    skip = "skip"


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def export(
    bundle: Annotated[Path, typer.Argument(help="Run folder, ensemble bundle, or bundle of one fold.")],
    out: Annotated[
        Path | None, typer.Option(help="One ONNX file, with the mean of the folds; model.onnx in each bundle without.")
    ] = None,
) -> None:
    """Write models as ONNX files with their heat map, compared with Keras before they are kept.

    An --out that ends in .tflite becomes a LiteRT file.
    """
    if out is not None and out.suffix.lower() == ".tflite":
        from ..deploy.litert import export_litert

        export_litert(bundle, out)
        console.print(f"Wrote {out} ({out.stat().st_size / 1e6:.1f} MB).", markup=False)
        return
    from ..deploy.onnx_export import export_onnx
    from ..progress import progress_bar

    with progress_bar(Console(stderr=True), "exporting", unit="") as show:
        files = export_onnx(bundle, out, on_event=show)
    for file in files:
        console.print(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB).", markup=False)


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def predict(
    model: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Ensemble bundle, run folder, bundle or ONNX file.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG or PNG files, or folders of them.")],
    out: Annotated[Path | None, typer.Option(help="CSV to write; printed without it.")] = None,
    sex: SexOption = None,
    age: AgeOption = None,
    site: SiteOption = None,
    csv: CsvOption = None,
    engine: Annotated[EngineOption, typer.Option(help="What computes.")] = EngineOption.auto,
    on_bad_image: Annotated[BadImages, typer.Option(help="Images that cannot be read.")] = BadImages.error,
    as_json: AsJson = False,
) -> None:
    """Score images: the score, that of each class and fold, and how the input differs from the training records."""
    if out is not None and out.is_dir():
        raise OutputError(f"{out} is a folder. Name a CSV file.")
    given = given_fields(sex, age, site, csv)
    paths = _files(images)
    from ..deploy.predictor import Predictor

    predictor = Predictor(model, engine=engine.value)
    check_used(model, predictor.recipe.name, predictor.fields, given, csv)
    found = _predictions(predictor, paths, given, csv, on_bad_image)
    _show(found, predictor, out, as_json)


def _predictions(
    predictor: Predictor, paths: dict[str, Path], given: dict[str, str], csv: Path | None, on_bad_image: BadImages
) -> list[Prediction]:
    from ..progress import progress_bar

    table, rows = metadata_of(list(paths), given, csv)
    if csv is not None:
        _tell_of_missing(csv, [name for name in predictor.fields if name not in table or table[name].isna().all()])
    found: list[Prediction] = []
    with progress_bar(Console(stderr=True), "predicting", unit="images") as show:
        encoded = predictor.iter_predictions(list(paths.values()), table, rows=rows, on_bad_image=on_bad_image.value)
        for prediction in encoded:
            found.append(prediction)
            show({"done": len(found), "total": len(paths)})
    return found


def _tell_of_missing(csv: Path, fields: list[str]) -> None:
    """A column of another name than those that are looked for would go unnoticed."""
    if fields:
        note = f"Note: {csv} has no value of {', '.join(fields)}: missing for all images."
        Console(stderr=True, soft_wrap=True).print(note, markup=False)


def _show(found: list[Prediction], predictor: Predictor, out: Path | None, as_json: bool) -> None:
    import json

    from ..atomic import atomic_file
    from ..deploy.prediction import to_table

    table = to_table(found)
    if out is not None:
        with atomic_file(out) as part:
            table.to_csv(part, index=False, lineterminator="\n")
        refused = sum(bool(prediction.problem) for prediction in found)
        warned = sum(bool(prediction.warnings) for prediction in found)
        console.print(
            f"Wrote {len(found):,} rows to {out} ({predictor.engine}; {warned:,} with a warning, "
            f"{refused:,} without a score).",
            markup=False,
        )
    elif as_json:
        typer.echo(json.dumps([prediction.to_dict() for prediction in found], indent=2, ensure_ascii=False))
        return
    else:
        typer.echo(table.to_csv(index=False, lineterminator="\n"), nl=False)
    Console(stderr=True, soft_wrap=True).print(NOT_A_MEDICAL_DEVICE, markup=False)


def _files(images: list[Path]) -> dict[str, Path]:
    """Image name → file, folders walked through.

    Raises:
        MelanomaFusionError: every path that cannot be used.
    """
    from ..data.join import IMAGE_SUFFIXES

    problems: list[str] = []
    found: dict[str, Path] = {}
    for path in images:
        inside = [path]
        if path.is_dir():
            inside = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
            )
            problems += [] if inside else [f"{path}: no image (.jpg, .jpeg, .png) below this folder."]
        elif not path.is_file():
            problems.append(f"{path}: there is no such file.")
        for file in inside:
            if file.stem in found and found[file.stem] != file:
                problems.append(f"{file}: {found[file.stem]} has the same name; the table could not tell them apart.")
            found.setdefault(file.stem, file)
    if problems:
        raise MelanomaFusionError("\n".join(problems))
    return found
