"""What a data set holds: records as the model reads them, and statistics."""
