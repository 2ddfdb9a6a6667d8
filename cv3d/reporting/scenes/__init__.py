"""Meshes, clouds, paths and cameras in space: on a page that needs nothing but a browser, or in rerun."""
