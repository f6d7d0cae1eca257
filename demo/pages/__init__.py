"""The pages of the web interface, one file each, in English and Chinese."""
