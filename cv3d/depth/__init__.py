"""Dense depth: of posed pictures by multi-view stereo, and of rectified pairs."""
