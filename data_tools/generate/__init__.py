"""`eyegraft data identity`: identity data sets, and answers of the model itself to ordinary questions."""
