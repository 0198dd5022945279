"""The figures of the chapters: each module has a function draw(), which computes its numbers by tinynet."""
