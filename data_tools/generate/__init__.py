"""Training data that is made: identity data sets and replies of the model itself."""
