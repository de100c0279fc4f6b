"""Classes told from all others by a sigmoid each: the loss, and what a fold trained with it scores."""

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit
from sklearn.metrics import log_loss

import melanomafusion as mf
from melanomafusion.training.one_vs_rest import OneVersusRestCrossentropy

TINY = mf.get_recipe("tiny").replace(epochs=1, tta=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_sum_of_binary_cross_entropies(smoothing):
    rng = np.random.default_rng(0)
    z, y = rng.normal(0, 4, (50, 4)).astype("float32"), np.eye(4)[rng.integers(0, 4, 50)]
    found = OneVersusRestCrossentropy(label_smoothing=smoothing).call(y, keras.ops.log_sigmoid(z)).numpy()
    soft = y * (1 - smoothing) + smoothing / 2
    p = expit(z.astype("float64"))
    np.testing.assert_allclose(found, -(soft * np.log(p) + (1 - soft) * np.log1p(-p)).sum(axis=1), rtol=1e-5)
    if not smoothing:
        by_class = sum(log_loss(y[:, k], p[:, k], normalize=False) for k in range(4))
        assert found.sum() == pytest.approx(by_class, rel=1e-5)


@pytest.mark.parametrize("z", [-80.0, -20.0, -1.0, 0.0, 1.0, 20.0, 60.0])
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_its_gradient_is_that_of_the_logit_however_sure_the_sigmoid(z, y):
    logit = tf.Variable([[z]])
    with tf.GradientTape() as tape:
        loss = OneVersusRestCrossentropy()(tf.constant([[y]]), keras.ops.log_sigmoid(logit))
    assert float(tape.gradient(loss, logit)[0, 0]) == pytest.approx(expit(z) - y, abs=2e-6)


def test_a_fold_scores_the_share_of_each_sigmoid(folded, tmp_path):
    classes = sorted(folded.frame["diagnosis"].unique())
    recipe = TINY.replace(classes=classes, loss="one_vs_rest")
    result = mf.fit_fold(recipe, folded, 1, out=tmp_path / "fold")
    assert np.isfinite(result.history["loss"]).all()
    bundle, held_out = mf.Bundle.read(result.bundle), folded.held_out(1)[1]
    model = bundle.build_model()
    sigmoids = keras.Model(model.input, model.get_layer("head").output)
    pipeline = mf.inference_pipeline(held_out, bundle.encoder, bundle.spec)
    p = expit(sigmoids.predict(pipeline, verbose=0).astype("float64"))
    scores = result.oof.frame[[f"score_{name}" for name in classes]].to_numpy()
    np.testing.assert_allclose(scores, p / p.sum(axis=1, keepdims=True), atol=1e-5)
    record = held_out.select(result.oof.frame["image_name"][:1]).frame.iloc[0]
    known = {name: record[name] for name in ("sex", "age_approx") if pd.notna(record[name])}
    site = record["anatom_site_general_challenge"]
    known |= {"anatom_site_general_challenge": site} if pd.notna(site) else {}
    again = mf.Predictor(result.bundle).predict(record["path"], **known)
    assert again.score == pytest.approx(result.oof.frame["score"].iloc[0], abs=1e-5)
