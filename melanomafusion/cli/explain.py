"""`melanomafusion explain`: why an image has its score, as a picture and as JSON."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import ImageError, MelanomaFusionError, TableError
from ..notice import NOT_A_MEDICAL_DEVICE
from .app import app, console
from .metadata_options import AgeOption, CsvOption, SexOption, SiteOption, check_used, given_fields, metadata_of

if TYPE_CHECKING:
    import pandas as pd

    from ..deploy.bundle import Bundle
    from ..images.spec import ImageSpec

_SHOWN_SIZE = 448  # pixels; the picture is shown larger than small models see it


class MethodOption(StrEnum):
    """How the heat map is computed."""

    gradcam = "gradcam"
    hirescam = "hirescam"


@app.command(epilog=NOT_A_MEDICAL_DEVICE)
def explain(
    bundle: Annotated[Path, typer.Argument(help="Bundle; or run folder or its bundle: the mean of the folds.")],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="JPEG or PNG files.")],
    out: Annotated[Path, typer.Option(help="Folder for a PNG and a JSON file per image.")],
    sex: SexOption = None,
    age: AgeOption = None,
    site: SiteOption = None,
    csv: CsvOption = None,
    method: Annotated[MethodOption, typer.Option(help="Of the heat map.")] = MethodOption.gradcam,
) -> None:
    """Show where in each image the evidence for its score lies, and what image, sex, age and site add to it."""
    given = given_fields(sex, age, site, csv)
    from ..atomic import make_folder
    from ..deploy.bundle import Bundle, find_bundles

    bundles = [Bundle.read(path) for path in find_bundles(bundle)]
    spec = _check_model(bundles, bundle, given, csv)
    problems = _problems_of_files(images, spec)
    names = [path.stem for path in images]
    try:
        table, rows = metadata_of(names, given, csv)
    except TableError as error:
        problems.append(str(error))
    if problems:
        raise MelanomaFusionError("\n".join(problems))
    needed = bundles[0].encoder.columns if bundles[0].encoder else ()
    absent = [name for name in needed if name not in table]  # missing for all, but what the files themselves tell
    table = table.assign(**dict.fromkeys(absent, float("nan")))
    if bundles[0].encoder:
        bundles[0].encoder.transform(table)  # a number that is none is found before anything is written
    make_folder(out)
    _explain_all(bundles, spec, dict(zip(images, rows, strict=True)), table, absent, out, method)
    console.print(f"Wrote {len(images):,} × PNG and JSON to {out}.", markup=False)
    console.print(NOT_A_MEDICAL_DEVICE, markup=False)


def _explain_all(
    bundles: list[Bundle],
    spec: ImageSpec,
    images: dict[Path, int],
    table: pd.DataFrame,
    absent: list[str],
    out: Path,
    method: MethodOption,
) -> None:
    """Explain image by image; each is written as soon as it is done."""
    from ..atomic import write_json
    from ..deploy.file_features import file_columns
    from ..explain.explanation import Explainer
    from ..explain.panel import write_panel
    from ..progress import progress_bar

    larger = dataclasses.replace(spec, size=max(spec.size, _SHOWN_SIZE))
    with progress_bar(Console(stderr=True), "explaining", unit="images") as show:
        explainer = Explainer(bundles, method=method.value)
        for done, (path, row) in enumerate(images.items()):
            show({"done": done, "total": len(images)})
            known = table.assign(**file_columns(path, absent))
            explanation = explainer.explain(spec.load(path), known, row=row, name=path.stem)
            write_panel(explanation, larger.load(path), out / f"{path.stem}.png")
            write_json(out / f"{path.stem}.json", explanation.to_dict())


def _check_model(bundles: list[Bundle], place: Path, given: dict[str, str], csv: Path | None) -> ImageSpec:
    """The image spec of the models, which must have an image branch, be alike and use the metadata that were given."""
    first = next((bundle for bundle in bundles if bundle.spec is not None), bundles[0])
    if first.spec is None:
        raise MelanomaFusionError(f"{place}: the model {first.recipe.name!r} looks at no image; explain needs one.")
    _check_mean(bundles, place, first.path)
    check_used(place, first.recipe.name, first.encoder.columns if first.encoder else (), given, csv)
    return first.spec


def _check_mean(bundles: list[Bundle], place: Path, one: Path) -> None:
    """Refuse models whose score is not the mean that is explained, or whose figures have no mean."""
    from ..deploy.ensemble_bundle import CONTENT, EnsembleBundle
    from ..explain.explanation import differences

    found = differences(bundles)
    problem = f"its models differ in {', '.join(found)}" if found else ""
    if not found and (place / CONTENT).is_file():
        together = EnsembleBundle.read(place)
        if not together.is_plain_mean:
            problem = f"a {type(together.ensemble).__name__} combines its members"
    if problem:
        raise MelanomaFusionError(
            f"{place}: {problem}; explain shows the plain mean of models that are alike. Name one of its bundles, "
            f"e.g. {one}."
        )


def _problems_of_files(images: list[Path], spec: ImageSpec) -> list[str]:
    """Every image that cannot be used, before the first is explained."""
    problems = []
    seen: dict[str, Path] = {}
    for path in images:
        if path.stem in seen:
            problems.append(f"{path}: {seen[path.stem]} has the same name; their results would overwrite each other.")
        seen.setdefault(path.stem, path)
        try:
            if path.is_dir():
                raise ImageError(f"{path}: a folder. Name image files.")
            spec.load(path)
        except ImageError as error:
            problems.append(str(error))
    return problems
