"""Recipes: what to build and how to train it, as plain frozen fields."""
