"""Weights of the 2020 package: the package's own network is the reference, whatever the layout of the file."""

import os
import warnings

import h5py
import keras
import numpy as np
import pytest

import melanomafusion as mf
from melanomafusion.errors import OutputError, WeightsError
from melanomafusion.models import weights as weights_module
from melanomafusion.models.backbones import BACKBONES
from melanomafusion.models.download import WeightsFile
from melanomafusion.models.efficientnet_weights import (
    import_efficientnet_weights,
    load_layers,
    noisy_student_file,
    read_layers,
)

SIZE = 64
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
FULL = [f"efficientnet_b{version}" for version in (1, 2, 3, 5, 6, 7)]
VERSIONS = [
    "efficientnet_b0",
    "efficientnet_b4",
    *(
        pytest.param(name, marks=pytest.mark.skipif("MELANOMAFUSION_FULL" not in os.environ, reason="slow"))
        for name in FULL
    ),
]


def images(count, seed):
    """(B, 64, 64, 3) float32 in 0–255: smooth pictures, each of its own colours."""
    coarse = np.random.default_rng(seed).uniform(0, 255, (count, 4, 4, 3)).astype("float32")
    return coarse.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)


@pytest.fixture(scope="module")
def pixels():
    """(2, 64, 64, 3) float32 in 0–255."""
    return images(2, 0)


def package_network(name):
    """The package's network with random weights, its batch norms set to what pictures make of it.

    With the statistics of a new network every picture gives nearly the same features, and any file would do.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import efficientnet.tfkeras as package

        keras.utils.set_random_seed(1)
        network = getattr(package, name.replace("efficientnet_b", "EfficientNetB"))(
            weights=None, include_top=False, pooling="avg", input_shape=(SIZE, SIZE, 3)
        )
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    draw = np.random.default_rng(3)
    for norm in norms:
        # Weak branches beside the residual path, and activations where swish is nearly linear: a deep random network
        # is chaotic otherwise.
        project = norm.name.endswith("project_bn")
        gamma, beta, *statistics = norm.get_weights()
        gamma = (0.2 if project else 1.0) * draw.uniform(0.9, 1.1, gamma.shape)
        beta = (0.0 if project else 1.0) + draw.normal(0, 0.1, beta.shape)
        norm.set_weights([gamma, beta, *statistics])
        norm.momentum = 0.0
    network(standardised(images(16, 2)), training=True)
    return network


def standardised(pixels):
    """The package's preprocessing (mode "torch")."""
    return ((pixels / 255 - MEAN) / STD).astype("float32")


def write_keras_2(path, network, *, drop=(), extra=None, head=False, cut=False, spoil=None):
    """The layout that Keras 2 wrote, of which the published files are: groups named by attributes."""
    layers = {layer.name: layer.get_weights() for layer in network.layers if layer.name not in drop}
    layers |= extra or {}
    if head:
        layers["probs"] = [np.zeros((1280, 1000), "float32"), np.zeros(1000, "float32")]
    if spoil:
        layers[spoil][0].flat[0] = np.nan
    with h5py.File(path, "w") as file:
        names = np.array([name.encode() for name in layers])
        if cut:  # Keras does so where the list is longer than 64 kB
            for number, part in enumerate(np.array_split(names, 11)):
                file.attrs[f"layer_names{number}"] = part
        else:
            file.attrs["layer_names"] = names
        for name, values in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/weight_{i}:0".encode() for i in range(len(values))]
            for i, value in enumerate(values):
                group[f"{name}/weight_{i}:0"] = value
    return path


@pytest.fixture(scope="module")
def b0(tmp_path_factory):
    """The package's B0 and its file in the Keras 2 layout."""
    network = package_network("efficientnet_b0")
    path = tmp_path_factory.mktemp("b0") / "efficientnet-b0_noisy-student_notop.h5"
    return network, write_keras_2(path, network)


def values(tensor):
    return keras.ops.convert_to_numpy(tensor)


def wanted_features(network, pixels):
    """What the package computes: its preprocessing, then its network."""
    return values(network(standardised(pixels)))


def our_features(backbone, weights, pixels):
    model = mf.build_fusion_model(backbone, fusion="image", image_size=SIZE, weights=weights)
    return values(keras.Model(model.input, model.get_layer("pooling").output)({"image": pixels}))


def relative(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("name", VERSIONS)
def test_features_are_those_of_the_package_and_need_the_normalisation(name, pixels, tmp_path):
    network = package_network(name)
    path = write_keras_2(tmp_path / "file.h5", network)
    wanted = wanted_features(network, pixels)
    assert relative(wanted[:1], wanted[1:]) > 0.05  # the features speak of the pictures
    model = mf.build_fusion_model(name, fusion="image", image_size=SIZE, weights=path)
    assert (
        relative(values(keras.Model(model.input, model.get_layer("pooling").output)({"image": pixels})), wanted) < 1e-4
    )
    # Pixels scaled to [0, 1] alone, as Keras's network does with weights=None: another function, and no error.
    assert relative(values(model.get_layer(name)(pixels / 255)).mean(axis=(1, 2)), wanted) > 0.05


def test_a_converted_file_sets_the_normalisation_of_the_keras_network(b0, pixels, tmp_path):
    network, path = b0
    wanted = wanted_features(network, pixels)
    converted = import_efficientnet_weights(path, out=tmp_path / "ours.weights.h5")
    assert relative(our_features("efficientnet_b0", converted, pixels), wanted) < 1e-4
    application = BACKBONES["efficientnet_b0"].constructor(input_shape=(SIZE, SIZE, 3), weights=None)
    load_layers(application, read_layers(path), "the file")
    assert relative(values(application(pixels)), wanted) > 0.05  # the layers alone
    application.load_weights(converted)
    assert relative(values(application(pixels)), wanted) < 1e-4


@pytest.mark.parametrize("name", ["whole.h5", "only.weights.h5"])
def test_files_that_keras_3_writes_of_the_package_are_read_too(b0, pixels, tmp_path, name):
    network, _ = b0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras calls .h5 old
        (network.save_weights if name.endswith(".weights.h5") else network.save)(tmp_path / name)
    found = our_features("efficientnet_b0", tmp_path / name, pixels)
    assert relative(found, wanted_features(network, pixels)) < 1e-4


def test_a_file_with_its_classifier_gives_the_same_features(b0, pixels, tmp_path):
    network, path = b0
    top = write_keras_2(tmp_path / "top.h5", network, head=True)
    found = our_features("efficientnet_b0", top, pixels)
    np.testing.assert_array_equal(found, our_features("efficientnet_b0", path, pixels))


def test_a_list_of_layers_cut_into_parts_is_read_in_order(b0, tmp_path):
    network, path = b0
    cut, whole = read_layers(write_keras_2(tmp_path / "cut.h5", network, cut=True)), read_layers(path)
    assert list(cut) == list(whole)
    assert list(cut)[:2] == ["stem_conv", "stem_bn"]


def test_the_backbone_is_told_from_the_layers():
    sizes = {"efficientnet_b0": 1280, "efficientnet_b2": 1408, "efficientnet_b7": 2560}
    from melanomafusion.models.efficientnet_weights import _backbone_of

    for name, width in sizes.items():
        layers = {"top_conv": [np.zeros((1, 1, 4, width))]}
        if name != "efficientnet_b0":
            layers["block1b_dwconv"] = []
        assert _backbone_of(layers, "x.h5") == name
    assert _backbone_of({"top_conv": [np.zeros((1, 1, 4, 1280))], "block1b_dwconv": []}, "x.h5") == "efficientnet_b1"
    with pytest.raises(WeightsError, match=r"no EfficientNet from B0 to B7 has 5504 features. Is it an L2"):
        _backbone_of({"top_conv": [np.zeros((1, 1, 4, 5504))]}, "x.h5")


def test_the_converted_file_lies_beside_the_original(b0, tmp_path):
    network, _ = b0
    path = write_keras_2(tmp_path / "mine.h5", network)
    assert import_efficientnet_weights(str(path)) == tmp_path / "mine.weights.h5"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.h5", "mine.weights.h5"]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"drop": ["block3a_bn"]}, "layer block3a_bn is not in the file"),
        ({"extra": {"block9a_bn": [np.ones(3)]}}, "the network has no layer block9a_bn"),
        ({"extra": {"top_bn": [np.ones(3)] * 4}}, r"layer top_bn has shapes \[\(3,\).* in the file, \[\(1280,\)"),
        ({"spoil": "top_conv"}, "layer top_conv has values that are not finite"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(b0, tmp_path, change, match):
    path = write_keras_2(tmp_path / "odd.h5", b0[0], **change)
    with pytest.raises(WeightsError, match=match) as error:
        our_features("efficientnet_b0", path, np.zeros((1, SIZE, SIZE, 3)))
    assert str(path) in str(error.value)
    with pytest.raises(WeightsError, match=match):
        import_efficientnet_weights(path)
    assert [file.name for file in tmp_path.iterdir()] == ["odd.h5"]


def test_many_missing_layers_are_counted(b0, tmp_path):
    path = write_keras_2(tmp_path / "odd.h5", b0[0], drop=[f"block{i}a_bn" for i in range(1, 8)])
    with pytest.raises(WeightsError, match=r"block1a_bn .*; and 2 more problems"):
        import_efficientnet_weights(path)


@pytest.mark.parametrize("backbone", ["efficientnet_b1", "mobilenet_v2"])
def test_a_file_of_another_network_is_refused(b0, backbone):
    with pytest.raises(WeightsError, match=f"does not hold the weights of {backbone}"):
        mf.build_fusion_model(backbone, fusion="image", image_size=SIZE, weights=b0[1])


def test_import_refuses_what_it_cannot_convert(b0, tmp_path):
    with pytest.raises(WeightsError, match="Received: backbone='mobilenet_v2'"):
        import_efficientnet_weights(b0[1], "mobilenet_v2")
    with pytest.raises(WeightsError, match=r"end in .weights.h5. Received: out='.*x.h5'"):
        import_efficientnet_weights(b0[1], out=tmp_path / "x.h5")
    with pytest.raises(WeightsError, match="cannot be read as a weights file"):
        import_efficientnet_weights(tmp_path / "nowhere.h5")
    with pytest.raises(WeightsError, match="cannot be read as a weights file"):
        import_efficientnet_weights(tmp_path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.ones(3)
    with pytest.raises(WeightsError, match="not a weights file of the package efficientnet"):
        import_efficientnet_weights(tmp_path / "other.h5")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        import_efficientnet_weights(b0[1], out=tmp_path / "file" / "x.weights.h5")


def test_layer_names_without_their_layers_are_refused(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["layer_names"] = [b"stem_conv", b"stem_bn"]
        file.create_group("stem_conv").attrs["weight_names"] = [b"stem_conv/kernel:0"]
    with pytest.raises(WeightsError, match=r"odd.h5 cannot be read as a weights file"):
        read_layers(tmp_path / "odd.h5")


def test_noisy_student_takes_address_and_hash_from_the_package():
    # Table of efficientnet 1.1.1, weights.py.
    assert noisy_student_file(BACKBONES["efficientnet_b4"]) == WeightsFile(
        "https://github.com/qubvel/efficientnet/releases/download/v0.0.1/efficientnet-b4_noisy-student_notop.h5",
        "efficientnet-b4_noisy-student_notop.h5",
        "47c10902a4949eec589ab92fe1c35ed8",
    )
    digests = {noisy_student_file(BACKBONES[f"efficientnet_b{version}"]).digest for version in range(8)}
    assert len(digests) == 8


def test_noisy_student_loads_what_was_downloaded(b0, pixels, monkeypatch):
    asked = []

    def fake(file):
        asked.append(file.name)
        return b0[1]

    monkeypatch.setattr(weights_module, "download", fake)
    found = our_features("efficientnet_b0", "noisy-student", pixels)
    assert relative(found, wanted_features(b0[0], pixels)) < 1e-4
    assert asked == ["efficientnet-b0_noisy-student_notop.h5"]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "tiny"])
def test_other_backbones_have_no_noisy_student(backbone):
    with pytest.raises(WeightsError, match=f"no noisy-student weights for {backbone}, only for efficientnet_b0, .*b7"):
        mf.build_fusion_model(backbone, fusion="image", image_size=SIZE, weights="noisy-student")


def test_without_the_package_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet.weights", None)
    with pytest.raises(WeightsError, match=r'pip install "melanomafusion\[efficientnet\]"'):
        mf.build_fusion_model("efficientnet_b0", fusion="image", image_size=SIZE, weights="noisy-student")
