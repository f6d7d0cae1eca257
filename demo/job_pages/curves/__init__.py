"""The page of curves: several jobs and runs overlaid, their values in a table, and all of their metrics as CSV."""
