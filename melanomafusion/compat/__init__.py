"""Names that code of 2020 imports and that are no longer there. Stands apart: nothing of the library uses it."""
