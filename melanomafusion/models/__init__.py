"""Keras models: backbones, their weights, fusion with metadata. `keras` and `keras.ops` only, any Keras backend."""
