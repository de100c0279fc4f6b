"""The recipes by name: each can be built, the families are complete, and the systems are as they were published."""

import re

import pytest
import typer

from melanomafusion.data.metadata_features import FEATURES
from melanomafusion.errors import RecipeError
from melanomafusion.models.backbones import get_backbone
from melanomafusion.models.fusion import get_fusion
from melanomafusion.recipes.catalogue import SYSTEMS, get_recipe, get_system, list_recipes
from melanomafusion.recipes.recipe import Recipe

FAMILIES = {"b0": 224, "b4": 380, "b5": 456, "b7": 600, "mobilenetv2": 224}
# Without a metadata model of their own: it would be that of any other family.
IMAGE_FAMILIES = {"efficientnetv2s": 384, "convnext": 224}
# The published system used them: asked for by name.
LEAKY = {"winner-2020", "winner-2020-b5", "winner-2020-b6", "winner-2020-b7"}


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
def test_leaky_features_are_those_of_the_2020_winner_alone(name):
    leaky = [feature for feature in get_recipe(name).metadata_features if FEATURES[feature].leaky]
    assert leaky == (["images_per_patient", "file_bytes"] if name in LEAKY else [])


def test_names_stand_once():
    assert len(set(list_recipes())) == len(list_recipes())


@pytest.mark.parametrize(("short", "size"), [*FAMILIES.items(), *IMAGE_FAMILIES.items()])
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


@pytest.mark.parametrize("short", IMAGE_FAMILIES)
def test_newer_backbones_have_a_fused_and_an_image_model(short):
    fused, image = get_recipe(f"fusion-{short}"), get_recipe(f"image-{short}")
    assert image.replace(name=fused.name, fusion="concat", metadata_dropout=fused.metadata_dropout) == fused
    assert f"metadata-{short}" not in list_recipes()


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match="fusion-b4"):
        get_recipe("fusion_b4")


# --- systems ----------------------------------------------------------------------------------------------------------

PUBLISHED = {
    "awan-2026-inceptionv3": "10.22442/jlumhs.2026.01460",
    "bamania-mobilenetv2": "no DOI",
    "raksha-efficientnet-fusion": "no DOI",
    "jagtap-2026-mobilenetv2": "10.38124/ijisrt/26apr1616",
    "menezes-efficientnetb3": "no DOI",
    "winner-2020": "arXiv 2010.05351",
}


def system_named(name):
    return next(system for system in SYSTEMS if system.name == name)


def test_the_published_systems_are_there_with_their_references():
    assert {name: system_named(name).reference for name in PUBLISHED} == PUBLISHED


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_every_system_says_what_was_reported_and_what_was_reproduced(system):
    assert system.recipes
    for text in (system.name, system.task, system.reference, system.reported, system.reproduced, system.about):
        assert isinstance(text, str)
        assert text.strip()
    if system.name in PUBLISHED:
        assert system.recipes[0].name == system.name
        for word in ("Reference:", "Data:", "Reported", "Deviations:"):
            assert word in system.about, word


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_belongs_to_the_system_that_lists_it(name):
    assert get_recipe(name) in get_system(name).recipes


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("awan", " Did you mean awan-2026-inceptionv3?"),
        ("bamania-mobilnetv2", " Did you mean bamania-mobilenetv2?"),
        ("resnet", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_an_unknown_recipe_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(RecipeError, match=re.escape(f"No recipe {name!r}.{hint} Known: awan-2026-inceptionv3, ")):
        get_recipe(name)


def test_an_unknown_system_is_refused_as_an_unknown_recipe():
    with pytest.raises(RecipeError, match="No recipe 'awan'"):
        get_system("awan")


FIGURES = {
    "awan-2026-inceptionv3": ["84.67", "79", "89", "0.81", "0.88", "0.98", "21,804,833", "2,049"],
    "bamania-mobilenetv2": ["78.03", "93", "56", "70", "72", "97", "83"],
    "raksha-efficientnet-fusion": ["no figures"],
    "jagtap-2026-mobilenetv2": ["71.38", "85.77", "60.42", "65", "68"],
    "menezes-efficientnetb3": ["97.15", "95.49", "93.30", "0.985", "2,048", "1,536"],
    "winner-2020": ["0.9408", "0.9400", "0.9600", "0.9490"],
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_published_figures_are_told(name):
    about = system_named(name).about
    assert [figure for figure in FIGURES[name] if figure not in about] == []


# --- commands in the docstrings ---------------------------------------------------------------------------------------


def commands_of(system):
    """The `melanomafusion …` lines, continued lines joined: (words of the command, options, other words)."""
    found = []
    for line in re.sub(r"\\\n\s+", "", system.about).splitlines():
        if line.startswith("    melanomafusion "):
            found.append(line.split()[1:])
    return found


@pytest.fixture(scope="module")
def application():
    from melanomafusion import cli

    return typer.main.get_command(cli.app)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_system_has_the_command_that_trains_it(name):
    trained = [words[1] for words in commands_of(system_named(name)) if words[0] == "train"]
    assert name in trained
    assert set(trained) <= set(list_recipes())


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_commands_in_the_text_are_commands_of_the_shell(system, application):
    for words in commands_of(system):
        command, rest = application, list(words)
        while hasattr(command, "commands"):
            assert rest[0] in command.commands, " ".join(words)
            command = command.commands[rest.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        used = [word.partition("=")[0] for word in rest if word.startswith("--")]
        assert [word for word in used if word not in options] == [], " ".join(words)
        required = {p.opts[0] for p in command.params if p.required and p.opts[0].startswith("--")}
        assert required <= set(used), " ".join(words)


# --- settings as published --------------------------------------------------------------------------------------------


def settings_of(name, *fields):
    recipe = get_recipe(name)
    return tuple(getattr(recipe, field) for field in fields)


def stages_of(name, *fields):
    return [tuple(getattr(stage, field) for field in fields) for stage in get_recipe(name).stages]


def test_awan_is_a_frozen_inception_with_one_unit():
    name = "awan-2026-inceptionv3"
    fields = ("backbone", "image_size", "fusion", "classes", "loss", "dropout", "head_units", "batch_size")
    assert settings_of(name, *fields) == ("inception_v3", 299, "image", (), "bce", 0.0, (), 64)
    assert stages_of(name, "trainable", "epochs", "optimizer", "early_stopping_patience") == [
        ("head", 100, "rmsprop", None)
    ]
    assert settings_of(name, "monitor", "threshold_rule", "augmentation") == ("val_loss", "sensitivity", "none")
    assert settings_of(name, "weights", "imbalance", "tta") == ("imagenet", "none", 1)


def test_bamania_is_frozen_for_fifteen_epochs_and_tuned_for_five():
    name = "bamania-mobilenetv2"
    assert settings_of(name, "backbone", "image_size", "fusion", "dropout") == ("mobilenet_v2", 224, "image", 0.4)
    assert stages_of(name, "trainable", "epochs", "optimizer") == [("head", 15, "adam"), ("all", 5, "adam")]
    (first,), (second,) = stages_of(name, "learning_rate")
    assert second <= first / 10
    assert settings_of(name, "augmentation", "head_units", "loss", "tta") == ("geometric", (), "bce", 1)


RAKSHA = "raksha-efficientnet-fusion"


@pytest.mark.parametrize(
    ("name", "backbone", "size"),
    [
        (RAKSHA, "efficientnet_b4", 380),
        (f"{RAKSHA}-b5", "efficientnet_b5", 456),
        (f"{RAKSHA}-b7", "efficientnet_b7", 600),
    ],
)
def test_raksha_fuses_three_efficientnets_with_age_sex_and_site(name, backbone, size):
    assert settings_of(name, "backbone", "image_size", "fusion") == (backbone, size, "concat")
    assert set(get_recipe(name).metadata_features) == {"age", "sex", "site"}
    assert settings_of(name, "imbalance", "loss", "batch_size", "monitor") == ("class_weight", "bce", 32, "val_loss")
    assert settings_of(name, "augmentation") == ("geometric-brightness",)
    assert stages_of(name, "trainable", "epochs", "optimizer", "schedule") == [("all", 25, "adam", "plateau")]
    assert get_recipe(name).dropout > 0


@pytest.mark.parametrize(("short", "backbone"), [("inceptionv3", "inception_v3"), ("densenet121", "densenet121")])
def test_raksha_describes_two_more_networks_on_ham10000(short, backbone):
    name = f"{RAKSHA}-{short}"
    assert settings_of(name, "backbone", "image_size", "fusion") == (backbone, 224, "image")
    assert len(get_recipe(name).head_units) == 1  # pooled → Dense → Dropout → sigmoid
    assert get_recipe(name).dropout > 0


def test_jagtap_trains_a_dense_layer_and_seven_classes_on_a_frozen_mobilenet():
    name = "jagtap-2026-mobilenetv2"
    assert settings_of(name, "backbone", "image_size", "fusion") == ("mobilenet_v2", 224, "image")
    assert set(get_recipe(name).classes) == {"AK", "BCC", "BKL", "DF", "VASC", "melanoma", "nevus"}
    assert stages_of(name, "trainable", "epochs", "learning_rate", "optimizer") == [("head", 10, 1e-4, "adam")]
    assert settings_of(name, "loss", "batch_size", "imbalance") == ("categorical", 16, "none")
    assert len(get_recipe(name).head_units) == 1
    assert get_recipe(name).dropout > 0
    plain = get_recipe("jagtap-2026-plain-cnn")
    assert (plain.backbone, plain.weights, plain.classes) == ("plain_cnn", None, get_recipe(name).classes)
    assert plain.epochs == 10


def test_menezes_warms_the_head_up_and_then_trains_all_layers():
    name = "menezes-efficientnetb3"
    assert settings_of(name, "backbone", "image_size", "fusion") == ("efficientnet_b3", 300, "image")
    assert get_backbone("efficientnet_b3").width == 1536
    fields = ("trainable", "epochs", "learning_rate", "weight_decay", "optimizer")
    assert stages_of(name, *fields) == [("head", 3, 5e-4, 5e-5, "adamw"), ("all", 50, 5e-4, 5e-5, "adamw")]
    last = get_recipe(name).stages[-1]
    assert (last.backbone_learning_rate, last.schedule) == (1e-4, "cosine")
    assert (last.early_stopping_patience, last.early_stopping_min_delta) == (5, 1e-4)
    assert settings_of(name, "two_logits", "batch_size", "monitor") == (True, 256, "val_auc")
    assert settings_of(name, "threshold_rule", "augmentation") == ("accuracy", "menezes")
    assert settings_of(name, "imbalance", "oversample_to") == ("oversample", 0.5)


def test_menezes_is_compared_with_the_frozen_backbone_and_the_untrained_head():
    whole = get_recipe("menezes-efficientnetb3")
    frozen, untrained = get_recipe(f"{whole.name}-frozen"), get_recipe(f"{whole.name}-untrained")
    assert frozen == whole.replace(name=frozen.name, stages=whole.stages[:1])
    assert untrained == whole.replace(name=untrained.name, stages=[])


@pytest.mark.parametrize(
    ("name", "backbone"), [("winner-2020", 4), ("winner-2020-b5", 5), ("winner-2020-b6", 6), ("winner-2020-b7", 7)]
)
def test_the_winner_is_as_published(name, backbone):
    assert settings_of(name, "backbone", "image_size") == (f"efficientnet_b{backbone}", 640)
    assert settings_of(name, "metadata_units", "metadata_batch_norm", "branch_dropout") == ((512, 128), True, 0.3)
    assert settings_of(name, "dropout", "dropout_samples", "tta", "batch_size") == (0.5, 5, 8, 64)
    classes = {"AK", "BCC", "BKL", "DF", "SCC", "VASC", "melanoma", "nevus", "unknown"}
    assert set(get_recipe(name).classes) == classes
    assert len(get_recipe(name).classes) == 9
    fields = ("epochs", "learning_rate", "optimizer", "schedule", "warmup_epochs")
    assert stages_of(name, *fields) == [(15, 3e-4, "adam", "cosine", 1.0)]
    assert settings_of(name, "augmentation", "fusion", "loss") == ("winner-2020", "concat", "categorical")


def test_the_honest_winner_differs_in_the_leaky_features_and_metadata_dropout_alone():
    winner, honest = get_recipe("winner-2020"), get_recipe("winner-2020-honest")
    changes = {"name": winner.name, "metadata_features": winner.metadata_features, "metadata_dropout": 0.0}
    assert honest.replace(**changes) == winner
    assert honest.metadata_features == ("sex", "age", "site")
