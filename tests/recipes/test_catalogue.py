"""The recipes by name: each can be built, and the families are complete."""

import pytest

from melanomafusion.data.metadata import FEATURES
from melanomafusion.errors import RecipeError
from melanomafusion.models.backbones import get_backbone
from melanomafusion.models.fusion import get_fusion
from melanomafusion.recipes.catalogue import get_recipe, list_recipes
from melanomafusion.recipes.recipe import Recipe

FAMILIES = {"b0": 224, "b4": 380, "b5": 456, "b7": 600, "mobilenetv2": 224}


@pytest.mark.parametrize("name", list_recipes())
def test_every_name_resolves_to_parts_that_exist(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    get_backbone(recipe.backbone)
    _, takes_image, takes_metadata = get_fusion(recipe.fusion)
    assert (recipe.uses_images, recipe.uses_metadata) == (takes_image, takes_metadata)
    assert set(recipe.metadata_features) <= set(FEATURES)


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_survives_json(name):
    assert Recipe.from_json(get_recipe(name).to_json()) == get_recipe(name)


@pytest.mark.parametrize("name", list_recipes())
def test_no_recipe_uses_leaky_features(name):
    assert not [feature for feature in get_recipe(name).metadata_features if FEATURES[feature].leaky]


def test_names_stand_once():
    assert len(set(list_recipes())) == len(list_recipes())


@pytest.mark.parametrize(("short", "size"), FAMILIES.items())
def test_fusion_recipes_use_native_sizes_class_weights_and_plateau(short, size):
    recipe = get_recipe(f"fusion-{short}")
    assert recipe.fusion == "concat"
    assert recipe.image_size == size == get_backbone(recipe.backbone).native_size
    assert recipe.imbalance == "class_weight"
    assert recipe.weights == "imagenet"
    assert recipe.freeze_batch_norm
    assert [stage.trainable for stage in recipe.stages] == ["head", "all"]
    assert recipe.stages[-1].schedule == "plateau"
    assert recipe.stages[-1].backbone_learning_rate < recipe.stages[0].learning_rate


@pytest.mark.parametrize("short", [*FAMILIES, "tiny"])
def test_every_family_has_each_branch_alone(short):
    fused = get_recipe(short if short == "tiny" else f"fusion-{short}")
    image, metadata = get_recipe(f"image-{short}"), get_recipe(f"metadata-{short}")
    assert (fused.fusion, image.fusion, metadata.fusion) == ("concat", "image", "metadata")
    assert image.replace(name=fused.name, fusion="concat", metadata_dropout=fused.metadata_dropout) == fused
    assert metadata.metadata_features == fused.metadata_features
    assert metadata.weights is None


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match="fusion-b4"):
        get_recipe("fusion_b4")
