"""Scores of predictions, with intervals and plots. No TensorFlow."""
