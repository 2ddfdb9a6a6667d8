"""Sheets to print: a calibration board laid out on paper, true to scale."""
