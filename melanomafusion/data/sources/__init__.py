"""One file per published data set; each gives a `Dataset` in the vocabulary of `data/schema.py`."""
