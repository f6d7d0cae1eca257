"""How much memory and time a run takes, and what to change when it does not fit."""
