"""One graph of one or several models, and how far it is from Keras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.metadata import MetadataEncoder
from ..errors import BundleError
from ..explain.interpolation import heatmap_of
from ..images.spec import ImageSpec
from .bundle import Bundle
from .encodings import Translation, common_encoder, translation
from .engines import Engine, Keras, OnnxRuntime
from .onnx_header import OnnxHeader
from .scores import logits_of_mean

if TYPE_CHECKING:
    import keras

    from .ensemble_bundle import EnsembleBundle

TOLERANCE = 1e-4
INPUTS = 64  # random records on which both are compared
_BATCHES = (1, 3)


@dataclass(frozen=True)
class Together:
    """Models of one recipe that make one graph.

    Attributes:
        bundles: they come from.
        models: built.
        header: of the file.
        translations: from the common metadata to each model's own; None of a single model, or without metadata.
    """

    bundles: Sequence[Bundle]
    models: Sequence[keras.Model]
    header: OnnxHeader
    translations: Sequence[Translation] | None

    @classmethod
    def of(cls, bundles: Sequence[Bundle], ensemble: EnsembleBundle | None = None) -> Together:
        """Build the models.

        Args:
            bundles: of one recipe.
            ensemble: calibration and threshold of their mean; a single bundle has its own threshold.
        """
        models = [bundle.build_model() for bundle in bundles]
        headers = [OnnxHeader.of(bundle, model) for bundle, model in zip(bundles, models, strict=True)]
        header = headers[0]
        encoders = [bundle.encoder for bundle in bundles if bundle.encoder is not None]
        translations = None
        if len(bundles) > 1:
            digests = tuple(digest for one in headers for digest in one.weights_sha256)
            header = replace(header, threshold=None, weights_sha256=digests)
            if encoders:
                common = common_encoder(encoders)
                header = replace(header, encoder=common)
                translations = [translation(common, encoder) for encoder in encoders]
        if ensemble is not None:
            calibrator, words = ensemble.calibrator, ensemble.calibrated_on
            header = replace(header, threshold=ensemble.threshold, calibrator=calibrator, calibrated_on=words)
        return cls(bundles, models, header, translations)

    @classmethod
    def of_one_recipe(cls, bundles: Sequence[Bundle], ensemble: EnsembleBundle | None) -> Together:
        """As `of`.

        Raises:
            BundleError: the models have no inputs in common, or the ensemble is not their plain mean.
        """
        kinds = {one.recipe.to_json() + (one.spec.to_json() if one.spec else "") for one in bundles}
        if len(kinds) > 1:
            raise BundleError(
                f"{bundles[0].path} and others are models of several recipes, which have no inputs in common. Leave "
                "out away: each model then gets a file of its own."
            )
        if ensemble is not None and not ensemble.is_plain_mean:
            raise BundleError(
                f"{ensemble.path}: a {type(ensemble.ensemble).__name__} combines its members, and one file holds only "
                "the mean of all models, each counted alike. Leave out away: each model then gets a file of its own, "
                "and whoever opens the bundle combines their scores."
            )
        return cls.of(bundles, ensemble)

    def checked_graph(self) -> tuple[Any, dict[str, float]]:
        """The graph with its header, and the largest difference of each output from Keras.

        Raises:
            BundleError: it differs by more than the tolerance.
        """
        import onnx

        from .onnx_graph import onnx_graph

        calibrator = self.header.calibrator
        recipe = self.header.recipe
        graph = onnx_graph(self.models, recipe, translations=self.translations, calibrator=calibrator)
        self.header.write(graph)
        onnx.checker.check_model(graph, full_check=True)
        differences = self.differences(OnnxRuntime(graph.SerializeToString()))
        self.check(differences, "ONNX graph")
        return graph, differences

    def check(self, differences: dict[str, float], what: str) -> None:
        """Refuse what differs too much.

        Raises:
            BundleError: names the output.
        """
        for name, difference in differences.items():
            if not difference <= TOLERANCE:
                raise BundleError(
                    f"{self.bundles[0].path}: {name} of the {what} differs from Keras by {difference:.2g}; at most "
                    f"{TOLERANCE:g} is allowed. Nothing was written. Very large logits, as of a model that diverged, "
                    "have no exact copy."
                )

    def differences(self, engine: Engine) -> dict[str, float]:
        """Largest difference of an engine from Keras over random records; of signed maps, as a share of their peaks.

        A heat map shows evidence for the positive class alone. A model that finds none has an empty one, which says
        nothing of the graph; its signed map does.
        """
        inputs = random_inputs(self.header.spec, self.header.encoder, INPUTS)
        expected = self._expected(inputs)
        largest = dict.fromkeys(expected, 0.0)
        for size in _BATCHES:
            found = _computed(engine, inputs, size)
            for name, values in expected.items():
                apart = np.abs(found[name] - values)
                if name == "signed_map":
                    apart = apart / np.maximum(np.abs(values).max(axis=(1, 2), keepdims=True), 1e-12)
                difference = float(apart.max())
                largest[name] = max(largest[name], difference if np.isfinite(difference) else np.inf)
        return largest

    def _expected(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Logits and heat maps, and probabilities where there are some, of the models' mean, by Keras."""
        found = []
        for place, model in enumerate(self.models):
            given = dict(inputs)
            if self.translations:
                matrix, shift = self.translations[place]
                given["metadata"] = (inputs["metadata"] @ matrix + shift).astype("float32")
            found.append(_computed(Keras(model, self.header.recipe), given, 4))
        expected = {"logit": found[0]["logit"]}
        if len(found) > 1:
            expected["logit"] = logits_of_mean([one["logit"] for one in found])
        if self.header.calibrator is not None:
            score = np.mean([one["score"] for one in found], axis=0)
            expected["probability"] = self.header.calibrator.transform(score)
        if "signed_map" in found[0]:
            weights = Keras(self.models[0], self.header.recipe).weights
            expected["signed_map"] = np.mean([one["signed_map"] for one in found], axis=0)
            expected["heatmap"] = np.stack([heatmap_of(one, weights) for one in expected["signed_map"]])
        return expected


def _computed(engine: Engine, inputs: dict[str, np.ndarray], size: int) -> dict[str, np.ndarray]:
    """All outputs of all records, computed in batches."""
    batches = [
        engine.run({name: values[start : start + size] for name, values in inputs.items()})
        for start in range(0, INPUTS, size)
    ]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def random_inputs(
    spec: ImageSpec | None, encoder: MetadataEncoder | None, count: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Records that no model has seen: half noise, half smooth colours; metadata of every kind, missing ones too.

    Returns:
        `image` (count, H, H, 3) uint8 and `metadata` (count, D) float32, what of them the model takes.
    """
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    if spec is not None:
        size = spec.size
        noise = rng.integers(0, 256, (count, size, size, 3), dtype="uint8")
        coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype="uint8")
        smooth = coarse.repeat(-(-size // 4), axis=1).repeat(-(-size // 4), axis=2)[:, :size, :size]
        inputs["image"] = np.where(np.arange(count)[:, None, None, None] % 2, noise, smooth)
    if encoder is not None:
        inputs["metadata"] = _random_rows(encoder, count, rng)
    return inputs


def _random_rows(encoder: MetadataEncoder, count: int, rng: np.random.Generator) -> np.ndarray:
    rows = np.zeros((count, encoder.width), dtype="float32")
    for name, columns in encoder.slices.items():
        if encoder.feature_names[columns.start] == name:  # a number and its mark of missing
            rows[:, columns.start] = rng.normal(size=count)
        else:
            rows[np.arange(count), rng.integers(columns.start, columns.stop, count)] = 1.0
    return encoder.drop_fields(rows, 0.2, rng)
