"""Metrics against ground truth, and the quality gates of `--require`."""
