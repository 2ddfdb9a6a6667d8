"""Matchers: which keypoints of two pictures show the same point."""
