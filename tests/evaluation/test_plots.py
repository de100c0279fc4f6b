"""Plots: what is drawn, and that image-level splits are named on the figure."""

import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from melanomafusion.ensemble.averages import MeanEnsemble
from melanomafusion.errors import OutputError, PredictionsError
from melanomafusion.evaluation.metrics import roc_auc
from melanomafusion.evaluation.plots import plot_history, plot_roc, save_figure
from melanomafusion.predictions import Predictions

PNG = b"\x89PNG\r\n\x1a\n"
COLUMNS = ("loss", "auc", "average_precision", "accuracy", "precision", "recall", "f1")


def predictions(seed=0, grouped_by="patient", count=60):
    rng = np.random.default_rng(seed)
    target = (np.arange(count) % 3 == 0).astype(int)
    return Predictions(
        pd.DataFrame(
            {
                "image_name": [f"i{i}" for i in range(count)],
                "target": target,
                "fold": np.arange(count) % 2,
                "grouped_by": grouped_by,
                "score": np.round(rng.normal(size=count) + target, 1),
            }
        ),
        "oof",
    )


@pytest.fixture
def history():
    rows = []
    for fold in (0, 1):
        for epoch in range(4):
            row = {"fold": fold, "stage": 1, "epoch": epoch, "learning_rate": 1e-3 / (epoch + 1)}
            row |= {name: 0.5 + 0.1 * epoch for name in COLUMNS}
            row |= {f"val_{name}": 0.4 + 0.1 * epoch for name in COLUMNS}
            rows.append(row)
    return pd.DataFrame(rows)


def test_roc_gives_axes_with_a_curve_and_an_auc_per_member():
    members = {"b4": predictions(0), "b5": predictions(1)}
    ax = plot_roc(members)
    assert isinstance(ax, Axes)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{name}: AUC {roc_auc(m.targets, m.scores):.3f}" for name, m in members.items()]
    assert "60 records, 20 positive" in ax.get_title()
    assert ax.get_xlabel()
    assert ax.get_ylabel()


def test_area_under_the_drawn_curve_is_the_auc():
    member = predictions()
    line = plot_roc({"b4": member}).get_lines()[0]
    x, y = line.get_data()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(roc_auc(member.targets, member.scores), abs=1e-12)


def test_curves_differ_in_colour_and_line_style():
    lines = plot_roc({str(i): predictions(i) for i in range(4)}).get_lines()[:4]
    assert len({line.get_color() for line in lines}) == 4
    assert len({line.get_linestyle() for line in lines}) == 4


def test_roc_draws_on_the_axes_it_is_given():
    ax = Figure().add_subplot()
    assert plot_roc({"b4": predictions()}, ax=ax) is ax
    assert len(ax.get_lines()) == 2


def test_image_level_split_is_stamped_in_the_title():
    assert "image-level split" in plot_roc({"b4": predictions(grouped_by="record")}).get_title()


@pytest.mark.parametrize("grouped_by", ["patient", "lesion", "record and its exact copies"])
def test_other_splits_are_not_stamped(grouped_by):
    assert "image-level" not in plot_roc({"b4": predictions(grouped_by=grouped_by)}).get_title()


def test_history_gives_a_panel_per_metric_and_a_colour_per_fold(history):
    figure = plot_history(history, title="fusion-b4")
    assert isinstance(figure, Figure)
    assert len(figure.axes) == 8
    for ax in figure.axes:
        assert ax.get_title()
        assert len({line.get_color() for line in ax.get_lines()}) == 2
    head = figure.get_suptitle()
    assert head.startswith("fusion-b4: ")
    assert "(0, 1)" in head


def test_history_shows_validation_and_training_values(history):
    loss = plot_history(history).axes[0]
    drawn = [list(line.get_ydata()) for line in loss.get_lines()[:2]]
    assert drawn == [list(history["val_loss"][:4]), list(history["loss"][:4])]
    assert {line.get_linestyle() for line in loss.get_lines()} == {"-", ":"}


def test_history_draws_on_the_figure_it_is_given(history):
    figure = Figure()
    assert plot_history(history, figure=figure) is figure


def test_figure_is_written_as_png(history, tmp_path):
    save_figure(plot_history(history), tmp_path / "history.png")
    save_figure(plot_roc({"b4": predictions()}), tmp_path / "report" / "roc.png")
    for path in (tmp_path / "history.png", tmp_path / "report" / "roc.png"):
        assert path.read_bytes().startswith(PNG)
        with Image.open(path) as image:
            assert min(image.size) > 400


def test_figure_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "roc.png" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="Cannot write"):
        save_figure(plot_roc({"b4": predictions()}), tmp_path / "roc.png")
    assert [path.name for path in tmp_path.iterdir()] == ["roc.png"]


def test_plots_open_no_window():
    plot_roc({"b4": predictions()})
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_image_level_split_of_any_member_is_stamped():
    members = {"b4": predictions(grouped_by="patient"), "b5": predictions(1, grouped_by="record")}
    assert "image-level split" in plot_roc(members).get_title()


def test_ensemble_with_an_image_level_member_stays_marked():
    members = {"b4": predictions(grouped_by="patient"), "b5": predictions(1, grouped_by="record")}
    result = MeanEnsemble(missing="intersect").cross_val_predict(members)
    assert "image-level split" in plot_roc({"mean": result}).get_title()


def test_roc_of_one_class_or_of_nothing_is_refused_in_words():
    one = Predictions(predictions().frame.assign(target=0), "oof")
    with pytest.raises(PredictionsError):
        plot_roc({"b4": one})
    with pytest.raises(PredictionsError):
        plot_roc({})
