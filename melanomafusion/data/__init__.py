"""Tables: one vocabulary, sources, folds, metadata encoding, class imbalance."""
