"""From a trained fold to something that predicts."""
