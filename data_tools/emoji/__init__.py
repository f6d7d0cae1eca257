"""The emoji world of `eyegraft assets --world emoji`: an image-text task in two languages, drawn from npm packages."""
