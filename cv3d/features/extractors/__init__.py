"""Extractors: keypoints and descriptors of pictures."""
