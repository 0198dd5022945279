"""Handwritten digits: MNIST, and the small ones of scikit-learn."""
