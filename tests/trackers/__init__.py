"""The five trackers, fed for real and read back: `make trackers`, and in the suite those that are installed there."""
