"""Images, vision towers and projectors."""
