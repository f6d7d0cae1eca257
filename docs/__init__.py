"""The documentation: pages in English and Chinese, and the parts of them that are generated."""
