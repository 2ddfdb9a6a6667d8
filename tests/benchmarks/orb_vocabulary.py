"""A vocabulary of ORB descriptors for ORB-SLAM3, trained on pictures that no benchmark evaluates odometry on.

    python tests/benchmarks/orb_vocabulary.py [--output FILE] [--descriptors 400000] [--branching 10]
        [--depth 5]

The tree is that of Galvez-Lopez and Tardos, "Bags of binary words for fast place recognition in image sequences"
(T-RO 2012): k-medians of binary descriptors, seeded by k-means++, on every level; a word weighs the logarithm of
pictures over pictures that hold it. The file is in the text form that ORB-SLAM3 loads: "k L scoring weighting", then a
line per node with its parent, whether it is a word, the bytes of its descriptor and its weight.

ORB-SLAM3 matches features that share a node four levels above the deepest that the header states. The header says six
levels, as the authors' vocabulary has, whatever the tree's own depth: then there are 100 such nodes. Of the ten that a
header of five levels leaves, too many features look alike: it loses KITTI's cars after a dozen frames.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from cv3d.formats.atomic import atomic_write_text

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("CV3D_DATA") or ROOT.parent / "shared" / "data")
FOLDERS = ("views", "calib", "pairs", "stereo")
"""Below the data; nothing of `rgbd` or `vo`."""
SAMPLES = ("checkerboard", "charuco_fisheye", "stereo")
"""Below data/samples; nothing of the room."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp"}
LONGEST_SIDE = 1024
"""Larger pictures are shrunk to it: ORB-SLAM3 sees pictures of about VGA size."""
CLIP_STEP = 4
"""Every so many frames of a clip: neighbours hold nearly the same descriptors."""
L1_NORM, TF_IDF = 0, 0
"""DBoW2's numbers of the scoring and the weighting that ORB-SLAM3 is tuned with."""
ROUNDS = 12
"""Of k-medians per node, unless it settles earlier."""


def default_path() -> Path:
    """Where the vocabulary is kept: `cv3d/orb_vocabulary.txt` in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cv3d" / "orb_vocabulary.txt"


def pictures() -> Iterator[NDArray[np.uint8]]:
    """Grey pictures to train on, (H, W)."""
    roots = [DATA / name for name in FOLDERS] + [ROOT / "data" / "samples" / name for name in SAMPLES]
    for path in sorted(path for root in roots for path in root.rglob("*") if path.suffix.lower() in SUFFIXES):
        if not path.name.startswith("disp") and (picture := cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) is not None:
            yield _shrunk(picture)
    for path in sorted((DATA / "clips").glob("*.mp4")):
        capture = cv2.VideoCapture(str(path))
        index = 0
        while capture.grab():
            if index % CLIP_STEP == 0:
                yield _shrunk(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY))
            index += 1
        capture.release()


def _shrunk(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    factor = LONGEST_SIDE / max(picture.shape)
    return picture if factor >= 1.0 else cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def extract(wanted: int, per_picture: int, seed: int) -> tuple[Words, NDArray[np.intp]]:
    """Descriptors, (n, 4) of 64 bits, and the number of the picture of each, (n,)."""
    detector = cv2.ORB.create(nfeatures=per_picture, scaleFactor=1.2, nlevels=8, fastThreshold=7)
    found: list[Bytes] = []
    for picture in pictures():
        descriptors = detector.detectAndCompute(picture, None)[1]
        if descriptors is not None:
            found.append(descriptors)
    if not found:
        raise SystemExit(f"no pictures to train on below {DATA} (CV3D_DATA)")
    sources = np.repeat(np.arange(len(found)), [len(one) for one in found])
    whole = np.concatenate(found).view(np.uint64)
    if len(whole) > wanted:
        kept = np.sort(np.random.default_rng(seed).choice(len(whole), wanted, replace=False))
        whole, sources = whole[kept], sources[kept]
    return whole, sources


def distances(descriptors: Words, centre: Words) -> NDArray[np.int64]:
    """Hamming distances of (n, 4) to (4,)."""
    return np.bitwise_count(descriptors ^ centre).sum(axis=1, dtype=np.int64)


def medians(descriptors: Words, labels: NDArray[np.intp], centres: Words) -> Words:
    """The majority of each bit over the descriptors of each label; a label of none keeps its centre."""
    bits = np.unpackbits(descriptors.view(np.uint8), axis=1)
    moved = centres.copy()
    for label in range(len(centres)):
        own = bits[labels == label]
        if len(own):
            moved[label] = np.packbits(2 * own.sum(axis=0, dtype=np.int64) >= len(own)).view(np.uint64)
    return moved


def cluster(descriptors: Words, count: int, rng: np.random.Generator) -> tuple[Words, NDArray[np.intp]]:
    """Centres (k, 4), k at most `count`, and the label of each descriptor; every label has a descriptor."""
    centres = _seeds(descriptors, count, rng)
    labels = np.full(len(descriptors), -1)
    for _ in range(ROUNDS):
        nearest = np.stack([distances(descriptors, centre) for centre in centres]).argmin(axis=0)
        if (nearest == labels).all():
            break
        labels = nearest
        centres = medians(descriptors, labels, centres)
    used, labels = np.unique(labels, return_inverse=True)
    return centres[used], labels


def _seeds(descriptors: Words, count: int, rng: np.random.Generator) -> Words:
    """k-means++ (Arthur and Vassilvitskii 2007): far descriptors are likelier, by the square of their distance."""
    chosen = [descriptors[rng.integers(len(descriptors))]]
    nearest = distances(descriptors, chosen[0])
    while len(chosen) < count and nearest.any():
        weights = np.cumsum(nearest**2)
        pick = int(np.searchsorted(weights, rng.integers(weights[-1]), side="right"))
        chosen.append(descriptors[pick])
        nearest = np.minimum(nearest, distances(descriptors, chosen[-1]))
    return np.stack(chosen)


@dataclass
class Tree:
    """Nodes in the order of the file; the root, number 0, is not among them."""

    parents: list[int]
    descriptors: list[Words]
    weights: list[float]
    """0 for a node that is no word."""
    is_word: list[bool]


def grow(descriptors: Words, sources: NDArray[np.intp], branching: int, depth: int, seed: int) -> Tree:
    """The tree over descriptors, level by level."""
    rng = np.random.default_rng(seed)
    tree = Tree([], [], [], [])
    n_pictures = int(sources.max()) + 1
    level = [(0, np.arange(len(descriptors)))]
    for step in range(1, depth + 1):
        below = []
        for parent, members in level:
            centres, labels = cluster(descriptors[members], branching, rng)
            for label, centre in enumerate(centres):
                own = members[labels == label]
                # A node of one kind of descriptor cannot be split: it is a word above the last level.
                is_word = step == depth or not (descriptors[own] != descriptors[own[0]]).any()
                tree.parents.append(parent)
                tree.descriptors.append(centre)
                tree.is_word.append(is_word)
                tree.weights.append(float(np.log(n_pictures / len(np.unique(sources[own])))) if is_word else 0.0)
                if not is_word:
                    below.append((len(tree.parents), own))
        level = below
    return tree


def write(path: Path, tree: Tree, branching: int, stated_depth: int) -> None:
    """Write the text form."""
    lines = [f"{branching} {stated_depth} {L1_NORM} {TF_IDF}"]
    for parent, centre, is_word, weight in zip(tree.parents, tree.descriptors, tree.is_word, tree.weights, strict=True):
        lines.append(f"{parent} {int(is_word)} {' '.join(map(str, centre.view(np.uint8)))} {weight:.6g}")
    # No line end after the last line: ORB-SLAM3 would read one more node there, with whatever is in memory.
    atomic_write_text(path, "\n".join(lines))


def main() -> None:
    """Train and write a vocabulary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=default_path())
    parser.add_argument("--descriptors", type=int, default=400_000)
    parser.add_argument("--per-picture", type=int, default=2000)
    parser.add_argument("--branching", type=int, default=10)
    parser.add_argument("--depth", type=int, default=5)
    parser.add_argument("--stated-depth", type=int, default=6, help="depth that the header states")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    start = time.perf_counter()
    descriptors, sources = extract(args.descriptors, args.per_picture, args.seed)
    print(f"{len(descriptors)} descriptors of {sources.max() + 1} pictures in {time.perf_counter() - start:.0f} s")
    start = time.perf_counter()
    tree = grow(descriptors, sources, args.branching, args.depth, args.seed)
    print(f"{len(tree.parents)} nodes, {sum(tree.is_word)} words in {time.perf_counter() - start:.0f} s")
    write(args.output, tree, args.branching, args.stated_depth)
    print(args.output)


if __name__ == "__main__":
    main()
