"""The renderer behind the samples: it shares no code with the toolkit, so that its ground truth is independent."""
