"""One record of a data file as readers get it, and the fields of it that none of them has read."""
