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
from melanomafusion.evaluation.decisions import net_benefit
from melanomafusion.evaluation.history_plot import plot_history
from melanomafusion.evaluation.intervals import wilson_interval
from melanomafusion.evaluation.metrics import average_precision, roc_auc
from melanomafusion.evaluation.plots import (
    plot_calibration,
    plot_decision_curve,
    plot_precision_recall,
    plot_roc,
    save_figure,
)
from melanomafusion.evaluation.probabilities import calibration_points
from melanomafusion.evaluation.table_plots import (
    plot_confusion_matrix,
    plot_member_correlation,
    plot_member_curve,
    plot_subgroups,
)
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


def probabilities(seed=0, grouped_by="patient", count=400, prevalence=0.3):
    """Calibrated by making."""
    rng = np.random.default_rng(seed)
    score = rng.beta(2 * prevalence, 2 * (1 - prevalence), count)
    frame = predictions(seed, grouped_by, count).frame
    return Predictions(frame.assign(target=(rng.random(count) < score).astype(int), score=score), "oof")


SUBGROUPS = pd.DataFrame(
    [
        ("sex", "female", 1500, 40, 0.9, 0.85, 0.95, True),
        ("sex", "male $1", 1200, 30, 0.8, 0.7, 0.88, True),
        ("age_band", "missing", 7, 0, np.nan, np.nan, np.nan, False),
    ],
    columns=["column", "value", "records", "positives", "auc", "low", "high", "enough"],
)
CORRELATION = pd.DataFrame([[1, 0.71], [0.71, 1]], index=["b4", "b5"], columns=["b4", "b5"])
CURVE = pd.DataFrame({"members": [2, 1], "auc": [0.92, 0.9], "low": [0.9, 0.88], "high": [0.94, 0.92]})
# Of each plot: how it is called with axes, and with an image-level split where it can be told of one.
PLOTS = {
    "roc": lambda by, ax: plot_roc({"a": predictions(grouped_by=by)}, ax=ax),
    "precision_recall": lambda by, ax: plot_precision_recall({"a": predictions(grouped_by=by)}, ax=ax),
    "calibration": lambda by, ax: plot_calibration({"a": probabilities(grouped_by=by)}, ax=ax),
    "decision_curve": lambda by, ax: plot_decision_curve({"a": probabilities(grouped_by=by)}, ax=ax),
    "confusion_matrix": lambda by, ax: plot_confusion_matrix(
        np.array([[90, 10], [5, 15]]), image_level_split=by == "record", ax=ax
    ),
    "subgroups": lambda by, ax: plot_subgroups(SUBGROUPS, 0.85, image_level_split=by == "record", ax=ax),
    "member_curve": lambda by, ax: plot_member_curve(CURVE, image_level_split=by == "record", ax=ax),
}


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


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
    labels = legend(ax)
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


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_every_plot_takes_axes_or_makes_them_and_can_be_drawn(plot, tmp_path):
    ax = Figure().add_subplot()
    assert plot("patient", ax) is ax
    save_figure(plot("patient", None), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize("plot", PLOTS.values(), ids=PLOTS)
def test_every_plot_names_an_image_level_split(plot):
    assert "image-level split" in plot("record", None).get_title()
    assert "image-level" not in plot("patient", None).get_title()


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall, plot_calibration, plot_decision_curve])
def test_curves_of_nothing_are_refused_by_name(plot):
    with pytest.raises(PredictionsError, match=plot.__name__):
        plot({})


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall, plot_calibration, plot_decision_curve])
def test_curves_of_one_class_are_refused(plot):
    with pytest.raises(PredictionsError, match="targets are 0"):
        plot({"b4": Predictions(probabilities().frame.assign(target=0), "oof")})


def test_curves_of_very_many_records_are_drawn_with_few_points_and_an_exact_auc():
    rng = np.random.default_rng(0)
    target = np.arange(60_000) % 2
    frame = pd.DataFrame({"image_name": np.arange(60_000).astype(str), "target": target, "fold": 0})
    member = Predictions(frame.assign(score=rng.normal(size=60_000) + target), "oof")
    exact = roc_auc(member.targets, member.scores)
    ax = plot_roc({"b4": member})
    x, y = ax.get_lines()[0].get_data()
    assert len(x) <= 4000
    assert np.trapezoid(y, x) == pytest.approx(exact, abs=2e-3)
    assert legend(ax) == [f"b4: AUC {exact:.3f}"]
    assert len(plot_precision_recall({"b4": member}).get_lines()[0].get_xdata()) < 10_000


def test_names_with_dollars_and_underscores_stay_as_they_are(tmp_path):
    ax = plot_roc({"a $x$ b_{": predictions(0), "_hidden": predictions(1)})
    assert [text.replace(r"\$", "$").strip().split(":")[0] for text in legend(ax)] == ["a $x$ b_{", "_hidden"]
    save_figure(ax, tmp_path / "roc.png")


def test_area_under_the_precision_recall_steps_is_the_average_precision():
    member = predictions()
    ax = plot_precision_recall({"b4": member})
    x, y = ax.get_lines()[0].get_data()
    exact = average_precision(member.targets, member.scores)
    assert (x[0], x[-1]) == (0, 1)
    assert np.trapezoid(y, x) == pytest.approx(exact, abs=1e-12)
    assert legend(ax) == [f"b4: AP {exact:.3f}", "prevalence 0.333"]
    assert set(ax.get_lines()[1].get_ydata()) == {member.targets.mean()}


def test_calibration_shows_bins_of_equal_mass_with_wilson_intervals():
    member = probabilities(count=1000)
    ax = plot_calibration({"b4": member}, bins=5)
    container = ax.containers[0]
    mean, share, count = calibration_points(member.targets, member.scores, 5)
    x, y = container.lines[0].get_data()
    assert list(count) == [200] * 5
    assert np.allclose((x, y), (mean, share))
    ends = np.array([segment[:, 1] for segment in container.lines[2][0].get_segments()])
    assert np.allclose(ends, [wilson_interval(p * 200, 200) for p in share])
    assert any(label.startswith("b4\nslope") for label in legend(ax))


def test_calibration_of_a_rare_disease_uses_the_range_that_is_there():
    ax = plot_calibration({"b4": probabilities(count=5000, prevalence=0.02)})
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_xlim()[1] < 0.5
    assert "square-root" in ax.get_xlabel()
    assert "square-root" not in plot_calibration({"b4": probabilities()}).get_xlabel()


def test_calibration_and_decision_curve_refuse_scores_that_are_no_probabilities():
    for plot in (plot_calibration, plot_decision_curve):
        with pytest.raises(PredictionsError, match=r"within \[0, 1\]"):
            plot({"logits": predictions()})


def test_decision_curve_is_the_net_benefit_beside_treating_all_and_none():
    member = probabilities()
    ax = plot_decision_curve({"b4": member}, highest=0.6)
    curve, everyone, none = ax.get_lines()
    thresholds, benefit = curve.get_data()
    assert (thresholds[0] > 0, thresholds[-1]) == (True, 0.6)
    exact = [net_benefit(member.targets, member.scores, float(t)) for t in thresholds]
    assert list(benefit) == exact
    all_positive = [net_benefit(member.targets, np.ones(len(member)), float(t)) for t in thresholds]
    assert np.allclose(everyone.get_ydata(), all_positive)
    assert set(none.get_ydata()) == {0}
    assert legend(ax) == ["b4", "treat all", "treat none"]


@pytest.mark.parametrize("highest", [0, 1, -0.1, float("nan")])
def test_decision_curve_refuses_thresholds_out_of_range(highest):
    with pytest.raises(PredictionsError, match="highest"):
        plot_decision_curve({"b4": probabilities()}, highest=highest)


@pytest.mark.parametrize(("prevalence", "low", "high"), [(0.02, 0.1, 0.3), (0.3, 0.5, 0.7)])
def test_decision_curve_covers_thresholds_that_suit_the_prevalence(prevalence, low, high):
    ax = plot_decision_curve({"b4": probabilities(count=5000, prevalence=prevalence)})
    assert low <= ax.get_xlim()[1] <= high


def test_confusion_matrix_shows_counts_and_shares_of_rows():
    ax = plot_confusion_matrix(np.array([[9000, 1000], [5, 15]]), title="sensitivity ≥ 0.7")
    assert texts(ax)[::2] == ["9,000", "1,000", "5", "15"]
    assert texts(ax)[1::2] == [f"{share} % of the row" for share in ("90.0", "10.0", "25.0", "75.0")]
    assert ax.get_title() == "sensitivity ≥ 0.7"
    assert "no records of the row" in texts(plot_confusion_matrix(np.array([[1, 0], [0, 0]])))


@pytest.mark.parametrize("matrix", [np.ones((3, 3)), np.ones(4), np.array([[1, -1], [0, 0]])])
def test_other_matrices_are_refused(matrix):
    with pytest.raises(PredictionsError, match="confusion matrix"):
        plot_confusion_matrix(matrix)


def test_subgroups_show_every_row_and_grey_those_that_say_nothing():
    ax = plot_subgroups(SUBGROUPS, 0.85)
    shown = texts(ax)
    assert {"sex", "age (years)", "1,500", "40", "0.900 (0.850 to 0.950)"} <= set(shown)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["female", r"male \$1", "missing"]
    (few,) = [text for text in ax.texts if text.get_text() == "too few to say"]
    assert few.get_color() != "black"
    assert "AUC 0.850" in ax.get_title()
    left, right = ax.get_xlim()
    assert left < 0.7
    assert right >= 0.95


def test_subgroups_that_all_say_nothing_can_be_drawn(tmp_path):
    save_figure(plot_subgroups(SUBGROUPS[2:], 0.85), tmp_path / "subgroups.png")


@pytest.mark.parametrize(
    ("plot", "table"),
    [
        (lambda table: plot_subgroups(table, 0.9), SUBGROUPS[:0]),
        (lambda table: plot_subgroups(table, 0.9), SUBGROUPS.drop(columns="low")),
        (plot_member_curve, CURVE[:0]),
        (plot_member_curve, CURVE.drop(columns="low")),
        (plot_member_correlation, CORRELATION[:0]),
        (plot_member_correlation, CORRELATION.rename(columns={"b5": "b6"})),
        (plot_member_correlation, CORRELATION * 2),
    ],
)
def test_tables_that_do_not_fit_are_refused(plot, table):
    with pytest.raises(PredictionsError):
        plot(table)


def test_member_correlation_shows_each_pair_once(tmp_path):
    ax = plot_member_correlation(CORRELATION)
    assert texts(ax) == ["1.00", "0.71", "1.00"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["b4", "b5"]
    given = Figure().add_subplot()
    assert plot_member_correlation(CORRELATION, ax=given) is given
    holes = CORRELATION.where(CORRELATION == 1)
    assert texts(plot_member_correlation(holes)) == ["1.00", "–", "1.00"]
    save_figure(plot_member_correlation(CORRELATION * 0 + 1), tmp_path / "same.png")


def test_member_curve_rises_with_the_number_of_members():
    line = plot_member_curve(CURVE).get_lines()[-1]
    assert list(line.get_xdata()) == [1, 2]
    assert list(line.get_ydata()) == [0.9, 0.92]


def test_of_a_very_long_name_the_end_is_shown_and_the_plot_stays_whole(tmp_path):
    long = "/a/very/long/way/" * 20 + "run-7/oof.csv"
    for plot in (plot_roc, plot_precision_recall):
        ax = plot({long: predictions(0)})
        assert legend(ax)[0].startswith("…")
        assert "run-7/oof.csv" in legend(ax)[0]
        save_figure(ax, tmp_path / "plot.png")
    names = {"b4": long, "b5": long + "2"}
    save_figure(plot_member_correlation(CORRELATION.rename(index=names, columns=names)), tmp_path / "plot.png")
