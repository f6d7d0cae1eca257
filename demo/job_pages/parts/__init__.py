"""Parts of the pages: markup, texts, the frame, rows, curves."""
