"""Where pixels come from: picture files, folders, globs and videos; decoding, orientation, key-frame choice."""

from __future__ import annotations

from cv3d.media.decode import Pixels
from cv3d.media.inputs import Pictures, Video, find_pictures
from cv3d.media.keyframes import KeyFrames, pick_sharp_frames
from cv3d.media.picture import Picture
from cv3d.media.video import VideoFrame, VideoFrames, VideoInfo, probe_video, video_frames

__all__ = [
    "KeyFrames",
    "Picture",
    "Pictures",
    "Pixels",
    "Video",
    "VideoFrame",
    "VideoFrames",
    "VideoInfo",
    "find_pictures",
    "pick_sharp_frames",
    "probe_video",
    "video_frames",
]
