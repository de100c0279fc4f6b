"""Pixels: from a file to a tensor, one way for training and serving."""
