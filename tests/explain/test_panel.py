"""The panel: what is drawn and what is written on it."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from melanomafusion.errors import OutputError
from melanomafusion.evaluation.plot_style import COLOURS, new_axes
from melanomafusion.explain.attribution import Attribution
from melanomafusion.explain.explanation import Explanation
from melanomafusion.explain.panel import draw_overlay, plot_explanation, write_panel
from melanomafusion.notice import NOT_A_MEDICAL_DEVICE
from melanomafusion.testing import paint_lesion

IMAGE = paint_lesion(1.0, 64, np.random.default_rng(0))


def heat(size=32, row=8, column=20):
    y, x = np.mgrid[0:size, 0:size]
    return np.exp(-((y - row) ** 2 + (x - column) ** 2) / 40).astype("float32")


@pytest.fixture
def explanation():
    return Explanation(
        name="ISIC_0000001",
        score=0.731,
        heatmap=heat(),
        signed_map=heat(8),
        attribution=Attribution({"image": 1.5, "sex": -0.25, "age": 0.75}, baseline=-1.0, output=1.0),
        fields={"sex": "female", "age": "45", "site": None},
        method="gradcam",
        recipe="tiny",
        explained="target 1",
        models=2,
    )


def texts(figure):
    figure.draw_without_rendering()
    found = [figure.get_suptitle(), figure.get_supxlabel()]
    for ax in figure.axes:
        found += [ax.get_title(), ax.get_ylabel(), ax.get_xlabel()]
        found += [t.get_text() for t in [*ax.texts, *ax.get_yticklabels()]]
    return "\n".join(found)


def test_what_stands_on_the_panel(explanation):
    said = texts(plot_explanation(explanation, IMAGE))
    for words in ("ISIC_0000001", "0.731", "target 1", "mean of 2 models", "Grad-CAM", NOT_A_MEDICAL_DEVICE):
        assert words in said
    for words in ("image", "sex: female", "age: 45", "site: not given", "+1.50", "-0.25", "+0.75"):
        assert words in said.replace("\N{MINUS SIGN}", "-")
    assert "no probability" in said


def test_bars_are_the_contributions_and_their_colours_say_which_way(explanation):
    bars = plot_explanation(explanation, IMAGE).axes[3].patches
    assert [bar.get_width() for bar in bars] == [1.5, -0.25, 0.75, 0.0]
    reds = [bar.get_facecolor() for bar in bars[:3]]
    assert reds[0] == reds[2] != reds[1]
    assert COLOURS[1] != COLOURS[0]


def test_the_heat_map_has_a_colour_bar_from_0_to_1(explanation):
    figure = plot_explanation(explanation, IMAGE)
    shown = figure.axes[1].images[0]
    assert shown.get_clim() == (0, 1)
    assert shown.colorbar is not None
    assert shown.get_cmap().name == "viridis"


def test_map_and_image_of_different_sizes_lie_on_each_other(explanation):
    figure = plot_explanation(explanation, IMAGE)
    image, tint = figure.axes[2].images
    assert image.get_extent() == tint.get_extent()
    assert figure.axes[1].images[0].get_extent() == figure.axes[0].images[0].get_extent()


def test_the_outline_runs_around_the_peak():
    ax = new_axes(4, 4)
    draw_overlay(ax, IMAGE, heat(32, 8, 20))
    (path,) = ax.collections[0].get_paths()
    x, y = path.vertices.mean(axis=0)
    assert abs(x - 2 * 20.5) < 2  # the picture is twice as wide as the map
    assert abs(y - 2 * 8.5) < 2


def test_an_empty_map_says_so_and_tints_nothing(explanation):
    empty = dataclasses.replace(explanation, heatmap=np.zeros((32, 32), "float32"))
    figure = plot_explanation(empty, IMAGE)
    assert "nothing here raises the score" in texts(figure)
    assert len(figure.axes[2].images) == 1


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ([[0.2, -1.0], [0.1, -0.3]], "up to 5.0 times"),  # 1.0 / 0.2
        ([[0.2, -0.1], [0.1, 0.0]], None),
        ([[-0.2, -0.1], [-0.1, 0.0]], None),  # nothing is lit, which the overlay says
    ],
)
def test_evidence_against_the_score_is_told_where_it_is_the_stronger(explanation, signed, said):
    figure = plot_explanation(dataclasses.replace(explanation, signed_map=np.array(signed, "float32")), IMAGE)
    words = "\n".join(axis.get_xlabel() for axis in [*figure.axes, *figure.axes[1].child_axes])
    assert "raises the score" in words
    assert (said in words) if said else ("lower it" not in words)


def test_contributions_of_nothing_are_drawn(explanation):
    flat = dataclasses.replace(explanation, attribution=Attribution({"image": 0.0}, 0.5, 0.5), fields={})
    assert "+0.00" in texts(plot_explanation(flat, IMAGE))


def test_names_are_no_formulas(explanation):
    odd = dataclasses.replace(explanation, name="_$x^2$ äß 皮膚", recipe="$", fields={"site": "$y_$"})
    odd = dataclasses.replace(odd, attribution=Attribution({"image": 1.0, "site": 1.0}, 0.0, 2.0))
    figure = plot_explanation(odd, IMAGE)
    assert "x^2" in figure.get_suptitle()


def test_a_constant_map_is_drawn_without_a_warning(explanation):
    plot_explanation(
        dataclasses.replace(explanation, heatmap=np.ones((32, 32), "float32")), IMAGE
    ).draw_without_rendering()


def test_the_file_is_a_picture(explanation, tmp_path):
    write_panel(explanation, IMAGE, tmp_path / "panel.png")
    with Image.open(tmp_path / "panel.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1200


def test_a_folder_in_the_way_is_named_and_nothing_is_left(explanation, tmp_path):
    (tmp_path / "panel.png").mkdir()
    with pytest.raises(OutputError, match=r"panel\.png"):
        write_panel(explanation, IMAGE, tmp_path / "panel.png")
    assert [path.name for path in tmp_path.iterdir()] == ["panel.png"]
