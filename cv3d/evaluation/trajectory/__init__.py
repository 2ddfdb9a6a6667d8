"""An estimated trajectory against the true one: absolute and relative pose errors, drift, coverage."""
