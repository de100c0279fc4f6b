"""Ensembles of predictions, joined by image name. No TensorFlow."""
