"""Preferences in rows: pairs of answers, answers with scores, and single answers that are labelled good or bad."""
