"""Key frames of clips: sharp, well exposed, and a step of motion apart."""

from cv3d.media.key_choice.choosing import choose_key_frames
from cv3d.media.key_choice.extracting import FramesResult, frames
from cv3d.media.key_choice.result import KeyFrameChoice, PassedOver

__all__ = ["FramesResult", "KeyFrameChoice", "PassedOver", "choose_key_frames", "frames"]
