"""Calibrating several cameras on one rigid body together."""
