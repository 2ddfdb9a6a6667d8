"""Recordings: frames in the order of time, with stereo, depth, calibration and truth where a folder has them."""
