"""`eyegraft web`: the page without a service, and the API, in one process."""
