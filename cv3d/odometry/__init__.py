"""The streaming estimator of a camera's path: front end, key frames, sliding window, loops, sensors."""
