"""`Recipe`: frozen plain fields, JSON both ways, and everything that cannot work named at once."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from melanomafusion.errors import RecipeError
from melanomafusion.recipes.recipe import Recipe
from melanomafusion.recipes.stage import Stage

POSITIVE = st.floats(1e-8, 10, allow_nan=False)
SHARE = st.floats(0, 0.99)
AUGMENTATIONS = [
    "none",
    "light",
    "medium",
    "geometric",
    "geometric-brightness",
    "winner-2020",
    "rand-augment",
    "menezes",
]
STAGES = st.builds(
    Stage,
    trainable=st.sampled_from(["head", "all", "top"]),
    epochs=st.integers(2, 100),
    learning_rate=POSITIVE,
    backbone_learning_rate=st.none() | POSITIVE,
    top_share=st.floats(0.01, 1),
    optimizer=st.sampled_from(["adam", "adamw", "rmsprop", "sgd"]),
    schedule=st.sampled_from(["plateau", "cosine", "constant"]),
    warmup_epochs=st.floats(0, 1.5),
    early_stopping_patience=st.none() | st.integers(1, 20),
    early_stopping_min_delta=st.floats(0, 1),
    augmentation=st.none() | st.sampled_from(AUGMENTATIONS),
)
THRESHOLDS = st.one_of(
    st.tuples(st.sampled_from([None, "youden", "max_f1", "accuracy"]), st.none()),
    st.tuples(st.sampled_from(["sensitivity", "specificity"]), st.floats(0.01, 0.99)),
)
RECIPES = st.builds(
    lambda threshold, **fields: Recipe(threshold_rule=threshold[0], threshold_at=threshold[1], **fields),
    threshold=THRESHOLDS,
    fusion=st.sampled_from(["concat", "metanet", "metablock", "additive", "additive_joint", "image"]),
    metadata_batch_norm=st.booleans(),
    branch_dropout=st.none() | SHARE,
    pooling=st.sampled_from(["avg", "gem"]),
    head_units=st.lists(st.integers(1, 512), max_size=3),
    dropout_samples=st.integers(1, 64),
    two_logits=st.booleans(),
    ema=st.floats(0, 0.9999),
    validation_fraction=st.floats(0.01, 0.5),
    name=st.text(min_size=1, max_size=20),
    image_size=st.integers(32, 1000),
    weights=st.none() | st.sampled_from(["imagenet", "a/b.weights.h5"]),
    freeze_batch_norm=st.just(False),
    metadata_units=st.lists(st.integers(1, 512), max_size=3),
    metadata_dropout=SHARE,
    modality_dropout=SHARE,
    dropout=SHARE,
    imbalance=st.sampled_from(["class_weight", "oversample", "none"]),
    augmentation=st.sampled_from(AUGMENTATIONS),
    mixup=st.floats(0, 10) | st.just(1),
    cutmix=st.floats(0, 10),
    source_weights=st.dictionaries(st.text(max_size=5), st.floats(0.01, 100) | st.integers(1, 9), max_size=3),
    source_sampling=st.dictionaries(st.text(max_size=5), st.floats(0.01, 100), max_size=3),
    stages=st.lists(STAGES, max_size=3),
    tta=st.sampled_from([1, 8]),
    seed=st.integers(0, 2**31 - 1),
)


def stage(**fields):
    return Recipe("r", stages=(Stage(**fields),))


@settings(deadline=None, max_examples=60)
@given(RECIPES)
def test_json_round_trip(recipe):
    again = Recipe.from_json(recipe.to_json())
    assert again == recipe
    assert again.to_json() == recipe.to_json()


@settings(deadline=None, max_examples=60)
@given(RECIPES)
def test_json_holds_every_field_in_plain_values(recipe):
    content = json.loads(recipe.to_json())
    assert set(content) == {field.name for field in dataclasses.fields(Recipe)}
    assert content == recipe.to_dict()


def test_a_stage_without_augmentation_has_that_of_the_recipe():
    stages = [{"trainable": "head", "augmentation": "none"}, {"trainable": "all"}]
    recipe = Recipe("r", stages=stages, augmentation="light")
    assert [recipe.augmentation_of(stage) for stage in recipe.stages] == ["none", "light"]


def test_json_from_before_stages_had_an_augmentation_is_read():
    content = Recipe("r", stages=(Stage(trainable="head"), Stage())).to_dict()
    for old in content["stages"]:
        del old["augmentation"]
    recipe = Recipe.from_json(json.dumps(content))
    assert [stage.augmentation for stage in recipe.stages] == [None, None]
    assert recipe == Recipe("r", stages=(Stage(trainable="head"), Stage()))


def test_a_wrong_augmentation_of_a_stage_is_refused_with_those_there_are():
    with pytest.raises(RecipeError, match=r"stage 1: augmentation='heavy': expected one of 'none', 'light'.* or None"):
        stage(augmentation="heavy")
    with pytest.raises(RecipeError, match=r"stage 1: augmentation=True: expected one of"):
        stage(augmentation=True)


def test_multi_class_recipe_survives_json():
    recipe = Recipe("r", classes=("melanoma", "nevus", "BKL"), loss="categorical")
    assert Recipe.from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("augmentation", AUGMENTATIONS)
def test_every_augmentation_is_that_of_a_recipe_and_of_a_stage(augmentation):
    recipe = Recipe("r", augmentation=augmentation, stages=(Stage(), Stage(augmentation="none")))
    assert [recipe.augmentation_of(stage) for stage in recipe.stages] == [augmentation, "none"]
    assert stage(augmentation=augmentation).stages[0].augmentation == augmentation


def test_the_images_of_a_stage_are_a_share_of_the_recipes():
    recipe = Recipe("r", image_size=224, stages=(Stage(image_scale=0.715), Stage()))
    assert [recipe.image_size_of(stage) for stage in recipe.stages] == [160, 224]
    assert [recipe.replace(image_size=64).image_size_of(stage) for stage in recipe.stages] == [46, 64]
    assert [recipe.replace(image_size=40).image_size_of(stage) for stage in recipe.stages] == [32, 40]


def test_json_of_stages_from_before_image_scale_is_read():
    content = Recipe("r", stages=(Stage(),)).to_dict()
    del content["stages"][0]["image_scale"]
    assert Recipe.from_dict(content) == Recipe("r", stages=(Stage(),))


def test_json_from_before_temperature_is_read():
    content = Recipe("r").to_dict()
    del content["temperature"]
    assert Recipe.from_dict(content) == Recipe("r")


def test_nothing_is_mixed_weighted_or_sampled_unless_asked_for():
    recipe = Recipe("r")
    assert (recipe.mixup, recipe.cutmix, recipe.source_weights, recipe.source_sampling) == (0, 0, {}, {})
    assert recipe.augmentation == "light"


def test_json_from_before_mixing_and_sources_is_read():
    content = Recipe("r").to_dict()
    for name in ("mixup", "cutmix", "source_weights", "source_sampling"):
        del content[name]
    assert Recipe.from_json(json.dumps(content)) == Recipe("r")


def test_all_problems_of_all_sources_are_listed_at_once():
    with pytest.raises(RecipeError) as error:
        Recipe("bad", mixup=-1.0, source_weights={"a": -1.0, "b": 0.0}, source_sampling={"c": -2.0, "d": 1.0})
    message = str(error.value)
    for part in ("mixup=-1.0", "source_weights of a", "source_weights of b", "source_sampling of c"):
        assert part in message
    assert "of d" not in message


def test_what_a_recipe_allows_of_sources_is_what_training_takes():
    from melanomafusion.data.imbalance import epoch_rows, sample_weights

    targets, sources = np.array([0, 1] * 10), ["a"] * 20
    for share in (1e-3, 0.5, 7, 100.0):
        recipe = Recipe("r", source_weights={"a": share}, source_sampling={"a": share})
        weights = sample_weights(targets, "none", sources=sources, source_weights=recipe.source_weights)
        np.testing.assert_allclose(weights, 1, rtol=1e-6)
        rng = np.random.default_rng(0)
        rows = epoch_rows(targets, "none", 0.2, sources=sources, source_sampling=recipe.source_sampling, rng=rng)
        assert len(rows) == max(2, round(20 * share))


def test_a_recipe_does_not_change_with_the_values_it_was_made_of():
    weights = {"siim": 2.0}
    recipe = Recipe("r", source_weights=weights)
    weights["siim"] = -1.0
    assert recipe.source_weights == {"siim": 2.0}


def test_recipe_and_stage_are_frozen():
    recipe = Recipe("r")
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.image_size = 100
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.stages[0].epochs = 1


def test_recipes_can_be_compared_and_hashed():
    assert Recipe("r") == Recipe("r")
    assert len({Recipe("r"), Recipe("r"), Recipe("r", seed=1)}) == 2
    weighted = [Recipe("r", source_weights={"ham": factor}) for factor in (1.0, 2.0, 2.0)]
    assert weighted[0] != weighted[1] == weighted[2]
    assert len(set(weighted)) == 2


def test_replace_gives_another_recipe_and_keeps_the_first():
    recipe = Recipe("r")
    other = recipe.replace(image_size=256, name="s")
    assert (other.image_size, other.name) == (256, "s")
    assert (recipe.image_size, recipe.name) == (380, "r")
    assert other.replace(image_size=380, name="r") == recipe


def test_replace_checks_the_new_values():
    with pytest.raises(RecipeError, match="image_size=5"):
        Recipe("r").replace(image_size=5)


def test_replace_takes_stages_as_objects_of_their_fields():
    recipe = Recipe("r").replace(stages=[{"epochs": 4, "schedule": "constant"}])
    assert recipe.stages == (Stage(epochs=4, schedule="constant"),)


def test_epochs_limits_every_stage():
    recipe = Recipe("r", stages=(Stage(epochs=2), Stage(epochs=20), Stage(epochs=5)))
    assert recipe.epochs == 27
    short = recipe.replace(epochs=3)
    warm = Recipe("r", stages=(Stage(epochs=15, schedule="cosine", warmup_epochs=1.0),))
    assert [warm.replace(epochs=n).stages[0].warmup_epochs for n in (1, 2, 15, 20)] == [0.5, 1.0, 1.0, 1.0]
    assert [s.epochs for s in short.stages] == [2, 3, 3]
    assert short.epochs == 8
    assert dataclasses.replace(short.stages[1], epochs=20) == recipe.stages[1]


def test_epochs_limits_stages_given_in_the_same_call():
    recipe = Recipe("r").replace(epochs=3, stages=(Stage(epochs=9), {"epochs": 1}))
    assert [s.epochs for s in recipe.stages] == [3, 1]


@pytest.mark.parametrize("epochs", [0, -1, 2.5, "3"])
def test_impossible_epochs_are_refused(epochs):
    with pytest.raises(RecipeError, match="epochs must be a whole number of at least 1"):
        Recipe("r").replace(epochs=epochs)


@pytest.mark.parametrize(
    ("key", "near"), [("imagesize", "image_size"), ("batchsize", "batch_size"), ("backbones", "backbone")]
)
def test_unknown_key_is_refused_with_the_nearest_known_one(key, near):
    for call in (
        lambda: Recipe("r").replace(**{key: 1}),
        lambda: Recipe.from_dict({"name": "r", key: 1}),
        lambda: Recipe.from_json(json.dumps({"name": "r", key: 1})),
    ):
        with pytest.raises(RecipeError) as error:
            call()
        assert f"{key} (did you mean {near}?)" in str(error.value)


def test_all_unknown_keys_are_named_and_the_known_ones_listed():
    with pytest.raises(RecipeError) as error:
        Recipe.from_dict({"name": "r", "zzz": 1, "lerning_rate": 2})
    message = str(error.value)
    assert "zzz\n" in message
    assert "lerning_rate" in message
    assert "Known: name, backbone, image_size" in message


def test_unknown_key_of_a_stage_is_refused_with_the_nearest_known_one():
    with pytest.raises(RecipeError, match=r"learnrate \(did you mean learning_rate\?\)"):
        Recipe("r").replace(stages=[{"learnrate": 1e-3}])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", "380"),
        ("image_size", 380.0),
        ("batch_size", True),
        ("dropout", "0.3"),
        ("weights", 5),
        ("freeze_batch_norm", 1),
        ("freeze_batch_norm", "statistic"),
        ("imbalance", "balanced"),
        ("loss", "mse"),
        ("tta", 4),
        ("tta", True),
        ("precision", "float16"),
        ("monitor", "auc"),
        ("metadata_units", ("64",)),
        ("metadata_features", (1,)),
        ("name", 5),
        ("augmentation", "heavy"),
        ("augmentation", None),
        ("augmentation", ["light"]),
        ("mixup", "0.2"),
        ("mixup", True),
        ("mixup", None),
        ("cutmix", [1.0]),
        ("pooling", "max"),
        ("pooling", None),
        ("fusion", "MetaNet"),
        ("head_units", (64.0,)),
        ("head_units", ("64",)),
        ("dropout_samples", 2.5),
        ("dropout_samples", True),
        ("two_logits", 1),
        ("metadata_batch_norm", "yes"),
        ("branch_dropout", "0.3"),
        ("ema", None),
        ("ema", True),
        ("threshold_rule", "cost"),
        ("threshold_at", "0.8"),
        ("backbone", "resnet50"),
        ("source_weights", None),
        ("source_weights", 2.0),
        ("source_weights", [["siim", 1.0]]),
        ("source_weights", {"siim": "2"}),
        ("source_weights", {"siim": None}),
        ("source_weights", {"siim": True}),
        ("source_weights", {1: 2.0}),
        ("source_sampling", "siim"),
        ("source_sampling", {"siim": [1.0]}),
    ],
)
def test_wrong_types_are_refused_by_name(field, value):
    with pytest.raises(RecipeError, match=f"{field}=.*expected"):
        Recipe(**{"name": "r", field: value})


@pytest.mark.parametrize(
    ("field", "value"), [("epochs", "3"), ("learning_rate", None), ("optimizer", "lamb"), ("schedule", "step")]
)
def test_wrong_types_in_a_stage_are_refused_by_name_and_number(field, value):
    with pytest.raises(RecipeError, match=f"stage 2: {field}=.*expected"):
        Recipe("r", stages=(Stage(), Stage(**{field: value})))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image_size": 31}, "image_size=31: at least 32"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"metadata_dropout": 1.0}, "metadata_dropout=1.0"),
        ({"modality_dropout": 1.0}, "modality_dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"dropout": float("nan")}, "dropout=nan"),
        ({"oversample_to": 1.0}, "oversample_to=1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"validation_fraction": -0.1}, "validation_fraction=-0.1: above 0, up to 0.5; or 0 for none"),
        ({"validation_fraction": float("nan")}, "validation_fraction=nan"),
        ({"validation_fraction": 0.6}, "validation_fraction=0.6"),
        ({"classes": ("a", "b"), "loss": "categorical"}, "at least three"),
        ({"classes": ("melanoma", "b", "c")}, 'loss "categorical" or "one_vs_rest" goes with classes'),
        ({"loss": "categorical"}, 'loss "categorical" or "one_vs_rest" goes with classes'),
        ({"loss": "one_vs_rest"}, 'loss "categorical" or "one_vs_rest" goes with classes'),
        ({"classes": ("a", "b", "c"), "loss": "categorical"}, "positive_classes: some, but not all, of classes"),
        (
            {"classes": ("melanoma", "b", "c"), "loss": "categorical", "imbalance": "oversample"},
            'imbalance "oversample" is for binary models',
        ),
        ({"weights": None}, "untrained batch norm would stay frozen"),
        ({"branch_dropout": 1.0}, "branch_dropout=1.0: 0 ≤ rate < 1"),
        ({"branch_dropout": -0.1}, "branch_dropout=-0.1"),
        ({"branch_dropout": float("nan")}, "branch_dropout=nan"),
        ({"dropout_samples": 0}, "dropout_samples=0: from 1 to 64"),
        ({"dropout_samples": 65}, "dropout_samples=65"),
        ({"head_units": (64, 0)}, "head_units=(64, 0): at least 1 each"),
        ({"two_logits": True, "classes": ("melanoma", "b", "c"), "loss": "categorical"}, "two_logits: for binary"),
        ({"pooling": "gem", "fusion": "metadata", "weights": None}, "pooling: for recipes with images"),
        ({"ema": 1.0}, "ema=1.0: 0 ≤ ema < 1"),
        ({"ema": -0.5}, "ema=-0.5"),
        ({"ema": float("nan")}, "ema=nan"),
        ({"threshold_rule": "sensitivity"}, 'threshold_at: goes with threshold_rule "sensitivity" or "specificity"'),
        ({"threshold_rule": "specificity"}, "and they need it"),
        ({"threshold_rule": "youden", "threshold_at": 0.5}, "threshold_at: goes with"),
        ({"threshold_at": 0.5}, "threshold_at: goes with"),
        ({"threshold_rule": "sensitivity", "threshold_at": 1.0}, "threshold_at=1.0: between 0 and 1"),
        ({"threshold_rule": "sensitivity", "threshold_at": -0.1}, "threshold_at=-0.1"),
        (
            {"threshold_rule": "youden", "validation_fraction": 0.0, "stages": ()},
            "threshold_rule: a threshold is chosen on a validation split; validation_fraction is 0",
        ),
        (
            {"validation_fraction": 0, "stages": (Stage(schedule="cosine"),)},
            "stage 1: plateau and early stopping need a validation split",
        ),
        (
            {"validation_fraction": 0, "stages": (Stage(early_stopping_patience=None),)},
            "stage 1: plateau and early stopping need a validation split",
        ),
        ({"mixup": -0.1}, "mixup=-0.1: at least 0"),
        ({"mixup": float("nan")}, "mixup=nan"),
        ({"mixup": float("inf")}, "mixup=inf"),
        ({"cutmix": -1.0}, "cutmix=-1.0: at least 0"),
        ({"cutmix": float("nan")}, "cutmix=nan"),
        ({"cutmix": 1.0, "fusion": "metadata", "weights": None}, "cutmix: for recipes with images"),
        ({"source_weights": {"siim": 1.0, "ham": 0.0}}, "source_weights of ham: 0.0: above 0"),
        ({"source_weights": {"ham": -1.0}}, "source_weights of ham: -1.0"),
        ({"source_weights": {"ham": float("nan")}}, "source_weights of ham: nan"),
        ({"source_weights": {"ham": float("inf")}}, "source_weights of ham: inf"),
        ({"source_sampling": {"ham": 0.0}}, "source_sampling of ham: 0.0: above 0"),
        ({"source_sampling": {"ham": -0.5}}, "source_sampling of ham: -0.5"),
        ({"source_sampling": {"ham": 101.0}}, "source_sampling of ham: 101.0"),
        ({"source_sampling": {"ham": float("nan")}}, "source_sampling of ham: nan"),
    ],
)
def test_impossible_values_are_refused_by_name(fields, reason):
    with pytest.raises(RecipeError) as error:
        Recipe("r", **fields)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"backbone_learning_rate": -1e-4}, "backbone_learning_rate"),
        ({"plateau_factor": 1.0}, "plateau_factor=1.0"),
        ({"top_share": 0.0}, "top_share=0.0"),
        ({"warmup_epochs": 10}, "warmup_epochs"),
        ({"early_stopping_min_delta": -1e-4}, "early_stopping_min_delta: at least 0"),
        ({"early_stopping_min_delta": float("nan")}, "early_stopping_min_delta"),
        ({"weight_decay": 1e-4}, 'weight_decay goes with optimizer "adamw"'),
    ],
)
def test_impossible_values_in_a_stage_are_refused_by_name(fields, reason):
    with pytest.raises(RecipeError) as error:
        stage(**fields)
    assert f"stage 1: {reason}" in str(error.value)


def test_all_problems_are_listed_at_once():
    with pytest.raises(RecipeError) as error:
        Recipe("bad", image_size=5, batch_size=0, dropout=2.0, stages=(Stage(), Stage(epochs=0, learning_rate=-1.0)))
    message = str(error.value)
    assert message.startswith("Recipe 'bad' cannot work:")
    for part in ("image_size=5", "batch_size=0", "dropout=2.0", "stage 2: epochs=0", "stage 2: learning_rate=-1.0"):
        assert part in message


def test_all_wrong_types_are_listed_at_once():
    with pytest.raises(RecipeError) as error:
        Recipe("bad", image_size="5", batch_size=1.5, stages=(Stage(epochs="3"),))
    for part in ("image_size='5'", "batch_size=1.5", "stage 1: epochs='3'"):
        assert part in str(error.value)


@pytest.mark.parametrize("frozen", [True, "statistics"])
def test_untrained_batch_norm_that_would_stay_is_refused(frozen):
    with pytest.raises(RecipeError, match=f"freeze_batch_norm={frozen!r}: untrained batch norm"):
        Recipe("r", weights=None, freeze_batch_norm=frozen)


def test_random_backbone_with_trained_batch_norm_is_fine():
    assert Recipe("r", weights=None, freeze_batch_norm=False).weights is None
    assert Recipe("r", weights=None, fusion="metadata").weights is None


@pytest.mark.parametrize(
    ("fusion", "images", "metadata"), [("concat", True, True), ("image", True, False), ("metadata", False, True)]
)
def test_recipe_says_which_inputs_it_uses(fusion, images, metadata):
    recipe = Recipe("r", fusion=fusion)
    assert (recipe.uses_images, recipe.uses_metadata) == (images, metadata)


@pytest.mark.parametrize("text", ["", "not JSON", '{"name": '])
def test_text_that_is_not_json_is_refused(text):
    with pytest.raises(RecipeError, match="Not a recipe in JSON"):
        Recipe.from_json(text)


@pytest.mark.parametrize("text", ["[]", "5", "null", '"r"'])
def test_json_that_is_no_object_is_refused(text):
    with pytest.raises(RecipeError, match="A recipe is an object"):
        Recipe.from_json(text)


def test_recipe_without_a_name_is_refused():
    with pytest.raises(RecipeError, match="needs a name"):
        Recipe.from_json("{}")


def test_stage_that_is_no_object_is_refused():
    with pytest.raises(RecipeError, match="A stage is an object of its fields"):
        Recipe.from_json('{"name": "r", "stages": [3]}')


@pytest.mark.parametrize(
    "content", [{"metadata_units": 64}, {"stages": None}, {"stages": {"epochs": 3}}, {"classes": None}]
)
def test_a_single_value_where_a_list_belongs_is_refused(content):
    with pytest.raises(RecipeError):
        Recipe.from_json(json.dumps({"name": "r", **content}))


def test_text_where_a_list_of_names_belongs_is_refused():
    with pytest.raises(RecipeError):
        Recipe("r", metadata_features="sex")


@pytest.mark.parametrize(
    "fields",
    [
        {"seed": -1},
        {"focal_gamma": -1.0},
        {"metadata_units": (0,)},
        {"metadata_features": ()},
        {"classes": ("a", "b", "c"), "loss": "categorical", "positive_classes": ()},
        {"classes": ("a", "b", "c"), "loss": "categorical", "positive_classes": ("a", "b", "c")},
        {"classes": ("a", "a", "b"), "loss": "categorical", "positive_classes": ("a",)},
        {"stages": (Stage(learning_rate=float("inf")),)},
        {"stages": (Stage(backbone_learning_rate=0.0),)},
        {"stages": (Stage(warmup_epochs=-1.0),)},
        {"stages": (Stage(plateau_patience=-1),)},
        {"stages": (Stage(early_stopping_patience=-1),)},
        {"stages": (Stage(optimizer="adamw", weight_decay=-1.0),)},
        {"classes": ("melanoma", "a", "b"), "loss": "categorical", "temperature": 0.0},
        {"classes": ("melanoma", "a", "b"), "loss": "categorical", "temperature": float("nan")},
        {"temperature": 2.0},
        {"stages": (Stage(image_scale=0.0),)},
        {"stages": (Stage(image_scale=1.1),)},
        {"stages": (Stage(image_scale=float("nan")),)},
        {"stages": (Stage(image_scale=0.5),), "fusion": "metadata"},
    ],
)
def test_impossible_values_are_refused(fields):
    with pytest.raises(RecipeError):
        Recipe("r", **fields)


def test_a_single_number_where_widths_belong_is_refused():
    with pytest.raises(RecipeError, match="head_units is a list"):
        Recipe("r", head_units=64)


def test_nothing_new_is_on_unless_asked_for():
    recipe = Recipe("r")
    assert (recipe.pooling, recipe.head_units, recipe.dropout_samples, recipe.two_logits) == ("avg", (), 1, False)
    assert (recipe.metadata_batch_norm, recipe.branch_dropout, recipe.ema) == (False, None, 0)
    assert (recipe.threshold_rule, recipe.threshold_at) == (None, None)
    assert recipe.stages[0].early_stopping_min_delta == 0


def test_json_from_before_the_published_systems_is_read():
    content = Recipe("r", stages=(Stage(epochs=3),)).to_dict()
    for name in ("pooling", "head_units", "dropout_samples", "two_logits", "metadata_batch_norm", "branch_dropout"):
        del content[name]
    for name in ("ema", "threshold_rule", "threshold_at"):
        del content[name]
    del content["stages"][0]["early_stopping_min_delta"]
    assert Recipe.from_json(json.dumps(content)) == Recipe("r", stages=(Stage(epochs=3),))


def test_a_recipe_without_stages_has_no_epochs_and_stays_so():
    recipe = Recipe("r", stages=())
    assert recipe.epochs == 0
    assert Recipe.from_json(recipe.to_json()) == recipe
    assert recipe.replace(epochs=3).stages == ()


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_no_validation_split_is_fine_where_nothing_watches_it(schedule):
    stages = (Stage(schedule=schedule, early_stopping_patience=None),)
    assert Recipe("r", validation_fraction=0, stages=stages).validation_fraction == 0
    assert Recipe("r", validation_fraction=0, stages=()).stages == ()


def test_the_model_options_are_the_parameters_of_the_model_but_for_the_weights():
    import inspect

    from melanomafusion.models.fusion_model import build_fusion_model

    parameters = set(inspect.signature(build_fusion_model).parameters)
    recipe = Recipe("r", dropout_samples=3, head_units=(5,), branch_dropout=0.2, pooling="gem", two_logits=True)
    options = recipe.model_options(11)
    assert set(options) == parameters - {"weights", "missing_metadata"}
    for name in set(options) - {"metadata_width", "n_classes"}:
        assert options[name] == getattr(recipe, name), name
    assert (options["metadata_width"], options["n_classes"]) == (11, 1)
    classes = Recipe("r", classes=("melanoma", "b", "c"), loss="categorical")
    assert (classes.model_options(11)["n_classes"], classes.model_options(11)["one_vs_rest"]) == (3, False)
    assert Recipe.from_dict({**classes.to_dict(), "loss": "one_vs_rest"}).model_options(11)["one_vs_rest"] is True


def test_the_defaults_of_the_model_are_those_of_recipes():
    import inspect

    from melanomafusion.models.fusion_model import build_fusion_model

    recipe = Recipe("r")
    for name, parameter in inspect.signature(build_fusion_model).parameters.items():
        if name not in ("metadata_width", "image_size", "n_classes", "missing_metadata"):
            assert parameter.default == getattr(recipe, name), name


def test_the_names_in_recipes_are_those_of_the_tables():
    import typing

    from melanomafusion.evaluation.thresholds import RULES
    from melanomafusion.images.policies import POLICIES
    from melanomafusion.models.backbones import list_backbones
    from melanomafusion.models.fusion import FUSIONS
    from melanomafusion.models.layers import _POOLINGS
    from melanomafusion.recipes import recipe
    from melanomafusion.training.callbacks import MODES
    from melanomafusion.training.optimizers import _KINDS

    assert set(typing.get_args(recipe.Backbone)) == set(list_backbones())
    assert set(typing.get_args(recipe.Fusion)) == set(FUSIONS)
    assert set(typing.get_args(recipe.Augmentation)) == set(POLICIES)
    # A cost ratio is no share: that rule is for reports alone.
    assert set(typing.get_args(recipe.ThresholdRule)) == set(RULES) - {"cost"}
    assert set(typing.get_args(recipe.Monitor)) == set(MODES)
    hints, of_stage = typing.get_type_hints(Recipe), typing.get_type_hints(Stage)
    assert set(typing.get_args(hints["pooling"])) == set(_POOLINGS)
    assert set(typing.get_args(of_stage["optimizer"])) == set(_KINDS)
