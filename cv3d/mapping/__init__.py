"""Poses and sparse structure of a whole set of pictures or a clip."""
