"""Records of data files written back in the form they were read in, and their image paths moved to another folder."""
