"""Which positions of a pack attend to which, and the kernels that compute it."""
