"""Messages in Chinese, found by their English text: code that raises an error knows no language."""
