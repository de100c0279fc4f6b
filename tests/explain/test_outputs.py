"""The number that is explained, and its gradient."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logit, softmax

from melanomafusion.errors import MelanomaFusionError
from melanomafusion.explain.outputs import check_class_index, explained_gradient, explained_values

LOGITS = np.array([[0.3, -1.2, 2.0, 0.1], [1.0, 4.0, -2.0, 0.0]], "float32")


def test_a_binary_model_is_explained_by_its_logit():
    assert explained_values(np.array([[0.5], [-2.0]])).tolist() == [0.5, -2.0]
    assert explained_gradient(np.array([[0.5], [-2.0]], "float32")).numpy().tolist() == [[1.0], [1.0]]


def test_the_predicted_class_is_the_default():
    assert explained_values(LOGITS).tolist() == [2.0, 4.0]
    assert explained_gradient(LOGITS).numpy().tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]


def test_one_class_is_its_logit():
    assert explained_values(LOGITS, 3).tolist() == pytest.approx([0.1, 0.0])
    assert explained_gradient(LOGITS, 3).numpy().tolist() == [[0, 0, 0, 1]] * 2


def test_several_classes_are_the_log_odds_of_their_summed_probability():
    expected = logit(softmax(LOGITS.astype("float64"), axis=1)[:, [1, 3]].sum(axis=1))
    np.testing.assert_allclose(explained_values(LOGITS, [1, 3]), expected, atol=1e-12)


def test_the_gradient_of_several_classes_is_that_of_automatic_differentiation():
    x = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        p = tf.reduce_sum(tf.gather(tf.nn.softmax(x), [1, 3], axis=1), axis=1)
        total = tf.reduce_sum(tf.math.log(p / (1 - p)))
    np.testing.assert_allclose(explained_gradient(LOGITS, [1, 3]), tape.gradient(total, x), atol=1e-6)


def test_very_sure_logits_stay_finite():
    sure = np.array([[900.0, -900.0, 0.0]], "float32")
    assert explained_values(sure, [0]).tolist() == [900.0]
    np.testing.assert_allclose(explained_gradient(sure, (0,)), [[1.0, 0.0, -1.0]], atol=1e-6)


@pytest.mark.parametrize("good", [None, 0, 3, np.int64(2), [1], (0, 2)])
def test_classes_of_the_model_are_taken(good):
    check_class_index(good, 4)


@pytest.mark.parametrize("bad", [4, -1, 1.0, True, "melanoma", [], [0, 1, 2, 3], [1, 1], [0, 9], ["x"], {}])
def test_other_classes_are_refused(bad):
    with pytest.raises(MelanomaFusionError, match="class number from 0 to 3"):
        check_class_index(bad, 4)


def test_a_binary_model_has_no_class_to_choose():
    with pytest.raises(MelanomaFusionError, match="leave class_index out"):
        check_class_index(1, 1)
