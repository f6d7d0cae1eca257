"""`eyegraft data check`: every record and image of a data file, checked as training reads them."""
