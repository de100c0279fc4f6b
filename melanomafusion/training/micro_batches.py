"""A batch computed in parts: gradients of micro-batches are added up and applied once.

The memory of a step is that of a micro-batch; order, mixing, schedules and averages stay those of the batch. So does
the result, but for rounding and the masks of dropout; batch norm that is not frozen sees a micro-batch.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from ..errors import RunError
from ..recipes.recipe import Recipe


def in_parts(model: keras.Model, recipe: Recipe) -> keras.Model:
    """The model as it is to be trained: sharing its layers, and with steps in parts where they are needed.

    Several GPUs need them too: the last batch of an epoch, which may not be divided evenly, counts record by record.

    Args:
        model: to be trained.
        recipe: its `micro_batch_size` is a number or None.

    Raises:
        RunError: a batch cannot be divided evenly among the devices.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    if recipe.batch_size % replicas:
        raise RunError(
            f"Batches are divided among {replicas} GPUs. Received: batch_size={recipe.batch_size}; take a multiple of "
            f"{replicas}, or show this process fewer GPUs (CUDA_VISIBLE_DEVICES)."
        )
    size = recipe.batch_size if recipe.micro_batch_size is None else int(recipe.micro_batch_size)
    if replicas == 1 and size >= recipe.batch_size:
        return model
    trained = ModelInParts(model.input, model.output, name=model.name)
    trained.micro_batch_size = size
    return trained


class ModelInParts(keras.Model):  # type: ignore[misc]
    """A functional model with a training step of its own.

    Attributes:
        micro_batch_size: records, on each device: a number or an integer variable.
    """

    micro_batch_size: Any

    def train_step(self, data: Any) -> Any:
        """One batch: as Keras does it, but in a loop over its parts."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        records = tf.shape(y)[0]
        context = tf.distribute.get_replica_context()
        of_all = tf.cast(context.all_reduce(tf.distribute.ReduceOp.SUM, records), tf.float32)
        replicas = context.num_replicas_in_sync
        variables = self.trainable_weights

        def compute(start: Any, outputs: Any, loss: Any, gradients: Any) -> Any:
            rows = slice(start, tf.minimum(start + self.micro_batch_size, records))
            share = tf.cast(rows.stop - start, tf.float32) / of_all
            with tf.GradientTape() as tape:
                output = self(keras.tree.map_structure(lambda values: values[rows], x), training=True)
                # A mean over these rows, divided by the number of replicas.
                mean = self.compute_loss(
                    y=y[rows], y_pred=output, sample_weight=None if weights is None else weights[rows], training=True
                )
                part = mean * tf.cast(replicas * share, mean.dtype)
                scaled = self.optimizer.scale_loss(part)
            found = tape.gradient(scaled, [variable.value for variable in variables])
            outputs = outputs.scatter(tf.range(start, rows.stop), tf.cast(output, tf.float32))
            return (
                rows.stop,
                outputs,
                loss + tf.cast(part, tf.float32),
                [
                    total if gradient is None else total + tf.cast(gradient, total.dtype)
                    for total, gradient in zip(gradients, found, strict=True)
                ],
            )

        width = self.output_shape[-1]
        outputs = tf.TensorArray(tf.float32, size=records, element_shape=(width,))
        nothing = [tf.zeros(variable.shape, variable.dtype) for variable in variables]
        _, outputs, loss, gradients = tf.while_loop(
            lambda start, *_: start < records,
            compute,
            (tf.constant(0), outputs, tf.constant(0.0), nothing),
            parallel_iterations=1,  # one part in memory at a time
        )
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        (tracker,) = (metric for metric in self.metrics if metric.name == "loss")
        tracker.update_state(tf.math.divide_no_nan(loss * of_all, tf.cast(records, tf.float32)), sample_weight=records)
        return self.compute_metrics(x, y, outputs.stack(), sample_weight=weights)
