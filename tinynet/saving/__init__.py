"""Models in files, and weights of other frameworks."""
