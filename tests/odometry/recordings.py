"""Short recordings made of the samples, whole or spoilt on purpose, as folders that anyone might have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Depth = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Clip:
    """Colour pictures, depth pictures of the same pixels, and stamps."""

    colors: tuple[Picture, ...]
    """(h, w, 3) BGR each."""
    depths: tuple[Depth, ...]
    """(h, w) millimetres each, 0: nothing measured."""
    times: tuple[float, ...]
    """Seconds."""
    world_from_cam: NDArray[np.float64]
    """(n, 4, 4), the truth."""
    matrix: NDArray[np.float64]
    """(3, 3) intrinsics, pixels."""

    def __len__(self) -> int:
        return len(self.times)

    def taken(self, indices: list[int]) -> Clip:
        """These moments alone, with their own stamps; one may come twice."""
        return replace(
            self,
            colors=tuple(self.colors[i] for i in indices),
            depths=tuple(self.depths[i] for i in indices),
            times=tuple(self.times[i] for i in indices),
            world_from_cam=self.world_from_cam[indices],
        )

    def write(self, folder: Path, *, depth: bool = True, matrix: bool = True) -> Path:
        """Write it as `color/`, `depth/`, `times.txt` and `camera-intrinsics.txt`."""
        (folder / "color").mkdir(parents=True)
        for index, color in enumerate(self.colors):
            cv2.imwrite(str(folder / "color" / f"{index:06d}.png"), color, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if depth:
            (folder / "depth").mkdir()
            for index, picture in enumerate(self.depths):
                cv2.imwrite(str(folder / "depth" / f"{index:06d}.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        (folder / "times.txt").write_text("".join(f"{time!r}\n" for time in self.times))
        if matrix:
            np.savetxt(folder / "camera-intrinsics.txt", self.matrix)
        return folder


def read_sample(samples: Path, count: int = 30) -> Clip:
    """The first pictures of `data/samples/rgbd`."""
    folder = samples / "rgbd"
    names = [f"{index:06d}" for index in range(count)]
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3] = np.loadtxt(folder / "poses.txt")[:count].reshape(-1, 3, 4)
    return Clip(
        tuple(np.asarray(cv2.imread(str(folder / "color" / f"{name}.jpg")), np.uint8) for name in names),
        tuple(
            np.asarray(cv2.imread(str(folder / "depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED), np.uint16)
            for name in names
        ),
        tuple(np.loadtxt(folder / "times.txt")[:count].tolist()),
        poses,
        np.loadtxt(folder / "camera-intrinsics.txt"),
    )
