"""`eyegraft data show` and `data stats`: records as the model reads them, and statistics of a data set."""
