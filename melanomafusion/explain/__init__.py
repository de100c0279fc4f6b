"""Where a model looks and what the metadata add. `keras` and `keras.ops` only, any Keras backend."""
