"""Plans of several members: read whole, or refused with everything that is wrong."""

import pytest

import melanomafusion as mf
from melanomafusion.errors import RecipeError

PLAN = """
stop_below = 0.001

[[members]]
recipe = "fusion-b4"
seeds = [0, 3]

[[members]]
name = "small"
recipe = "fusion-b0"
set = {image_size = 128, epochs = 2}

[[members]]
recipe = "own.json"
"""


def read(folder, text):
    path = folder / "plan.toml"
    path.write_text(text)
    return mf.EnsemblePlan.read_toml(path)


def test_members_and_seeds_become_recipes_with_names_of_their_own(tmp_path):
    own = mf.get_recipe("metadata-tiny").replace(name="own", seed=7)
    (tmp_path / "own.json").write_text(own.to_json())
    plan = read(tmp_path, PLAN)
    assert plan.stop_below == 0.001
    assert [(recipe.name, recipe.seed) for recipe in plan.recipes] == [
        ("fusion-b4-seed0", 0),
        ("fusion-b4-seed3", 3),
        ("small", 0),
        ("own", 7),
    ]
    assert plan.recipes[0] == mf.get_recipe("fusion-b4").replace(name="fusion-b4-seed0")
    assert plan.recipes[2] == mf.get_recipe("fusion-b0").replace(name="small", image_size=128, epochs=2)
    assert plan.recipes[3] == own


def test_everything_that_is_wrong_is_said_at_once(tmp_path):
    text = """
stop_bellow = 0.1
[[members]]
recipe = "fusion-b9"
[[members]]
receipt = "tiny"
[[members]]
recipe = "tiny"
set = {dropout = 3.0}
[[members]]
recipe = "tiny"
seeds = [-4]
[[members]]
recipe = "tiny"
seeds = [1]
set = {seed = 2}
"""
    with pytest.raises(RecipeError) as error:
        read(tmp_path, text)
    said = str(error.value)
    for part in ("plan.toml", "stop_bellow", "fusion-b9", "receipt", "dropout=3.0", "seed=-4", "member 5: "):
        assert part in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("members = 3", r"no \[\[members\]\]"),
        ("", r"no \[\[members\]\]"),
        ("members = []", "at least one member"),
        ("[[members]\n", "not TOML"),
        ('[[members]]\nrecipe = "tiny"\n[[members]]\nrecipe = "tiny"\n', "Twice: tiny"),
        ('[[members]]\nrecipe = "tiny"\nname = "../x"\n', "that of its folder"),
        ('[[members]]\nrecipe = "tiny"\nname = ""\n', "that of its folder"),
        ('[[members]]\nrecipe = "tiny"\nname = "ensemble"\n', "that of its folder"),
        ('stop_below = "a"\n[[members]]\nrecipe = "tiny"\n', "stop_below"),
        ('stop_below = nan\n[[members]]\nrecipe = "tiny"\n', "stop_below"),
        ('[[members]]\nrecipe = "tiny"\nseeds = 3\n', "seeds a list"),
        ('[[members]]\nrecipe = "tiny"\nset = [1]\n', "set is a table"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, text, said):
    with pytest.raises(RecipeError, match=said):
        read(tmp_path, text)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml cannot be read"):
        mf.EnsemblePlan.read_toml(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"bytes\.toml is not TOML"):
        mf.EnsemblePlan.read_toml(tmp_path / "bytes.toml")


def test_a_plan_by_its_name_and_a_field_changed_in_every_member():
    plan = mf.get_plan("best-ham10000-ensemble")
    assert plan.combine == "mean"
    assert [recipe.name for recipe in plan.recipes] == ["best-ham10000", "best-ham10000-additive-240"]
    assert plan.recipes == tuple(mf.get_recipe(recipe.name) for recipe in plan.recipes)
    changed = plan.replace(seed=3)
    assert changed == mf.EnsemblePlan(tuple(recipe.replace(seed=3) for recipe in plan.recipes), combine="mean")
    with pytest.raises(RecipeError, match="image_size"):
        plan.replace(image_size=0)
    with pytest.raises(RecipeError, match=r"No plan 'best'\. Known: best-ham10000-ensemble"):
        mf.get_plan("best")
    with pytest.raises(RecipeError, match="It is a plan of best-ham10000 and best-ham10000-additive-240"):
        mf.get_recipe("best-ham10000-ensemble")
    with pytest.raises(RecipeError, match=r"Did you mean best-ham10000-ensemble\?"):
        mf.get_recipe("best-ham10000-ensembel")


def test_how_members_are_combined_is_one_of_two_words(tmp_path):
    members = '[[members]]\nrecipe = "metadata-tiny"\n'
    assert read(tmp_path, members).combine == "weights"
    assert read(tmp_path, 'combine = "mean"\n' + members).combine == "mean"
    with pytest.raises(RecipeError, match="combine is 'weights' or 'mean'"):
        read(tmp_path, 'combine = "median"\n' + members)
