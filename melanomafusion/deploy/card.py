"""`model_card`: what a model is, what it was trained on, what it is worth and what was not done, as Markdown.

The items at the end are those of TRIPOD+AI (doi:10.1136/bmj-2023-078378) and CLAIM (doi:10.1148/ryai.240300) that can
be answered for a model; what only its users can answer is left to them, by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..evaluation.result import words
from ..notice import NOT_A_MEDICAL_DEVICE
from .bundle import Bundle

if TYPE_CHECKING:
    from ..recipes.recipe import Recipe
    from .ensemble_bundle import EnsembleBundle

_COLUMNS = {"age_approx": "age", "age_band": "age", "anatom_site_general_challenge": "site"}
_INTERVALS = {
    "bootstrap": "bootstrap over {0}s",
    "clustered": "Obuchowski's variance over {0}s",
    "delong": "DeLong, as if records were independent",
}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def model_card(bundle: EnsembleBundle) -> str:
    """The card of an ensemble bundle, Markdown.

    Raises:
        BundleError: a model cannot be read.
    """
    models = {name: Bundle.read(folder) for name, folder in bundle.bundles.items()}
    first = next(iter(models.values()))
    metrics, about = bundle.metrics, bundle.metrics.get("about", {})
    parts = [
        f"# Model card: {_plain(bundle.name)}",
        f"**{NOT_A_MEDICAL_DEVICE}**",
        _intended(),
        "## Model",
        _table(("member", "models", *_RECIPE), (_row(name, folders) for name, folders in bundle.members.items())),
        _combined(bundle),
        "## Data",
        _data(first, about),
        "## What it is worth",
        _worth(metrics),
        "## Calibration",
        _calibration(metrics),
        "## Operating threshold",
        _threshold(metrics),
        "## Subgroups",
        _subgroups(metrics),
        "## Limits",
        "\n".join(f"- {_plain(note)}" for note in [*metrics.get("notes", []), *_LIMITS]),
        "## Reporting items",
        _table(("item", "answer"), _items(first.recipe, metrics)),
    ]
    return "\n\n".join(parts) + "\n"


def fold_card(bundle: Bundle) -> str:
    """The card of one fold's bundle: what is known of a single fold, Markdown."""
    metrics = {name: value for name, value in bundle.metrics.items() if isinstance(value, (int, float))}
    parts = [
        f"# Model card: {_plain(bundle.recipe.name)}, one fold",
        f"**{NOT_A_MEDICAL_DEVICE}**",
        _intended(),
        "## Model",
        _table(_RECIPE, [_recipe_cells(bundle.recipe)]),
        "## Data",
        _data(bundle, {}),
        "## What it is worth",
        "Scored once on its held-out fold; a run's ensemble bundle says more: intervals, calibration, subgroups.",
        _table(("figure", "value"), ((_plain(name), _number(value)) for name, value in metrics.items())),
        "## Limits",
        "\n".join(f"- {line}" for line in ("The score is not a probability: it was not calibrated.", *_LIMITS)),
    ]
    return "\n\n".join(parts) + "\n"


_RECIPE = ("recipe", "backbone", "image size", "fusion", "metadata", "imbalance", "views")
_LIMITS = (
    "Scores hold for images like those it was trained on; dermoscopy, phone pictures and clinical photographs differ.",
    "Whether a prediction helps the one who reads it was not studied.",
)


def _intended() -> str:
    return (
        "## Use\n\nMeant for research on skin-lesion images and for comparing methods. Not meant for diagnosis, "
        "triage, or any decision about a person."
    )


def _row(name: str, folders: list[Any]) -> tuple[str, ...]:
    return _plain(name), str(len(folders)), *_recipe_cells(Bundle.read(folders[0]).recipe)


def _recipe_cells(recipe: Recipe) -> tuple[str, ...]:
    return (
        _plain(recipe.name),
        _plain(recipe.backbone) if recipe.uses_images else "–",
        f"{recipe.image_size} × {recipe.image_size}" if recipe.uses_images else "–",
        _plain(recipe.fusion),
        _plain(", ".join(recipe.metadata_features)) if recipe.uses_metadata else "–",
        _plain(recipe.imbalance),
        str(recipe.tta),
    )


def _combined(bundle: EnsembleBundle) -> str:
    if bundle.ensemble is None:
        return f"The score is the mean over {len(bundle.bundles)} folds' models."
    weights = getattr(bundle.ensemble, "weights", {})
    shares = ", ".join(f"{_plain(name)} {value:.3f}" for name, value in weights.items())
    return (
        f"Members are means of their folds, combined by {type(bundle.ensemble).__name__}"
        + (f": {shares}." if shares else ".")
        + (" Scores of classes are the plain mean of the members'." if bundle.metrics.get("multiclass") else "")
    )


def _data(bundle: Bundle, about: Mapping[str, Any]) -> str:
    lines = []
    if about:
        sources = ", ".join(map(_plain, about.get("sources", []))) or "not named"
        lines.append(
            f"- {about['records']:,} records of {about['clusters']:,} {about['cluster']}s, {about['positives']:,} "
            f"positive ({100 * about['prevalence']:.2f} %); sources: {sources}"
        )
        lines.append(f"- folds: {about['folds']}, grouped by {about.get('grouped_by') or 'not said'}")
    known = bundle.trained_on
    if known is not None:
        lines.append(f"- a model learnt from {known.records:,} records")
        if known.age_approx is not None:
            lines.append(f"- age {known.age_approx[0]:g} to {known.age_approx[1]:g} years")
        lines += [
            f"- {_plain(_COLUMNS.get(column, column))}: {', '.join(map(_plain, values)) or 'none known'}"
            for column, values in known.values.items()
        ]
    return "\n".join(lines) or "Nothing is known of the training records."


def _worth(metrics: Mapping[str, Any]) -> str:
    auc = metrics.get("auc", {})
    rows = []
    cluster = metrics.get("about", {}).get("cluster", "patient")
    for method, said in _INTERVALS.items():
        if method in auc:
            low, high = auc[method]["interval"]
            name = f"AUC, 95 % by {said.format(_plain(cluster))}"
            rows.append((name, f"{_number(auc['estimate'])} ({_number(low)} to {_number(high)})"))
    rows += [(_plain(words(name)), _number(value)) for name, value in metrics.get("ranking", {}).items()]
    overall = metrics.get("multiclass", {}).get("overall", {})
    rows += [(_plain(words(name)), _number(value)) for name, value in overall.items()]
    return "Out-of-fold scores of the models.\n\n" + _table(("figure", "value"), rows)


def _calibration(metrics: Mapping[str, Any]) -> str:
    method = metrics.get("calibrated_by")
    said = (
        f"Probabilities come from the score ({_plain(method)}), fitted on all out-of-fold scores; the figures "
        "are cross-fitted."
        if method
        else "Not calibrated: the score is not a probability."
    )
    found = metrics.get("calibration", {})
    if not found:
        return said
    names = list(next(iter(found.values())))
    rows = ((_plain(kind), *(_number(row[name]) for name in names)) for kind, row in found.items())
    return f"{said}\n\n" + _table(("of", *map(words, names)), rows)


def _threshold(metrics: Mapping[str, Any]) -> str:
    chosen = metrics.get("threshold") or {}
    if chosen.get("threshold") is None:
        return "None."
    (matrix_0, matrix_1) = chosen["confusion_matrix"]
    return "\n".join(
        [
            f"Score ≥ {chosen['threshold']:.4g}, chosen for {_plain(chosen['rule'])}; "
            + ("judged on folds that did not choose it." if chosen["cross_fitted"] else "not cross-fitted."),
            "",
            f"- sensitivity {_share(chosen['sensitivity'])}",
            f"- specificity {_share(chosen['specificity'])}",
            f"- {matrix_1[1]:,} of {sum(matrix_1):,} positives found, {matrix_0[1]:,} of {sum(matrix_0):,} negatives "
            "called positive",
        ]
    )


def _subgroups(metrics: Mapping[str, Any]) -> str:
    rows = []
    for group in metrics.get("subgroups", []):
        interval = f"{_number(group['auc'])} ({_number(group['low'])} to {_number(group['high'])})"
        shown = interval if group["enough"] else "too few to say"
        column = _COLUMNS.get(group["column"], group["column"])
        name = f"{_plain(column)} {_plain(group['value'])}"
        rows.append((name, f"{group['records']:,}", f"{group['positives']:,}", shown))
    return _table(("group", "records", "positive", "AUC (95 %)"), rows) if rows else "None: no metadata were given."


def _items(recipe: Recipe, metrics: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    about = metrics.get("about", {})
    grouped = about.get("grouped_by")
    missing = f"missing values have a level of their own; fields dropped in training at {recipe.metadata_dropout:g}"
    return (
        ("Study design", "retrospective, on published images"),
        ("Outcome", "the data set's own diagnosis; not adjudicated again"),
        ("Predictors", _plain(", ".join((["image"] * recipe.uses_images) + list(recipe.metadata_features)))),
        ("Missing data", missing if recipe.uses_metadata else "no metadata are used"),
        ("Sample size", "not calculated beforehand"),
        ("Data partitions", f"{about.get('folds')} folds; grouped by {_plain(grouped or 'what was not said')}"),
        ("Model selection", "inside the training folds; the held-out fold is scored once"),
        ("Class imbalance", _plain(recipe.imbalance)),
        ("Uncertainty of figures", "95 % intervals, bootstrap over patients or lesions"),
        ("Calibration", "cross-fitted" if metrics.get("calibrated_by") else "not done"),
        ("Fairness", "figures by subgroup above; skin tone not known" if metrics.get("subgroups") else "not done"),
        ("External validation", "not done"),
        ("Comparison with readers", "not done"),
        ("Explanation", "heat maps and Shapley values; not validated by readers" if recipe.uses_images else "Shapley"),
        ("Failure analysis", "not done"),
        ("Protocol registered", "not done"),
        ("Ethics approval", "to be answered by the user of the data"),
        ("Funding", "to be answered by the user"),
        ("Code", "melanomafusion, Apache-2.0"),
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = tuple(header)
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _share(values: Iterable[float]) -> str:
    estimate, low, high = (_number(value) for value in values)
    return f"{estimate} ({low} to {high})"


def _number(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}"


def _plain(text: Any) -> str:
    """As it stands: nothing in a name is read as Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
