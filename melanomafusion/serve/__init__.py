"""The web page and its API: one image and its metadata in, score, heat map and report out; nothing is stored."""
