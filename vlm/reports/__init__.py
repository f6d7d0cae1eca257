"""The report of an evaluation: one line a question, report.json, Markdown and one HTML page; no torch."""
