"""The features of one picture, in its own pixels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from cv3d.compute import Compute
from cv3d.features.extractors.base import Extractor, ExtractorOptions, Features
from cv3d.features.extractors.registry import create_extractor
from cv3d.features.matching.options import MatchOptions
from cv3d.features.preparing import Prepared, prepare


def build_extractor(options: MatchOptions, compute: Compute) -> Extractor:
    """The extractor that the options name.

    Raises:
        DependencyError: its weights are not here.
        FormatError: its weights are not the published ones.
    """
    wanted = ExtractorOptions(options.max_keypoints, options.detection_threshold)
    return create_extractor(options.extractor, compute, wanted)


def extract_picture(
    pixels: NDArray[np.uint8], extractor: Extractor, compute: Compute, options: MatchOptions
) -> Features:
    """Find keypoints in one picture.

    Args:
        pixels: (H, W, 3) RGB or (H, W) grey.
        extractor: what finds them.
        compute: its device.
        options: how the picture is prepared.

    Returns:
        Features of a batch of one, on the device, in pixels of the picture as handed in.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    height, width = pixels.shape[:2]
    prepared = prepare(pixels, options.max_side, trims_border=options.trims_border)
    image = (
        torch.from_numpy(np.require(prepared.pixels, requirements=["C", "W"])).permute(2, 0, 1)[None].to(compute.device)
    )
    return _as_read(extractor.extract(image.to(compute.device)), prepared, (width, height))


def matched_scale(size: tuple[int, int], options: MatchOptions) -> float:
    """How many of a picture's pixels one pixel is in which it is matched.

    Args:
        size: width and height of the picture, pixels.
        options: how it is prepared.
    """
    return 1.0 if options.max_side is None else max(1.0, max(size) / options.max_side)


def _as_read(features: Features, prepared: Prepared, size: tuple[int, int]) -> Features:
    """Features of a prepared picture, in the pixels of the picture as it was read."""
    device = features.keypoints.device
    scale = torch.from_numpy(prepared.scale.astype(np.float32)).to(device)
    origin = torch.from_numpy(prepared.origin.astype(np.float32)).to(device)
    keypoints = ((features.keypoints + 0.5) / scale - 0.5 + origin) * features.mask[..., None]
    return replace(
        features,
        keypoints=keypoints,
        image_size=torch.tensor([size], dtype=torch.float32, device=device),
        scales=None if features.scales is None else features.scales / scale.mean(),
    )
