"""Training: a fold, its stages and callbacks, and the whole of a cross-validated run."""
