"""Local features: weights, extractors, matchers."""
