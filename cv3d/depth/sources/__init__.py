"""Posed pictures, wherever their poses are from, as what dense depth starts from."""

from cv3d.depth.sources.reading import PosedSource, read_posed_set, read_posed_source, source_content

__all__ = ["PosedSource", "read_posed_set", "read_posed_source", "source_content"]
