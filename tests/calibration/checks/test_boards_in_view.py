"""Mirrored pictures, inverted boards, and several boards in one set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import cv3d
from cv3d.calibration.api import gather
from cv3d.calibration.boards import Board, BoardType
from cv3d.calibration.checks.base import Severity
from cv3d.calibration.checks.boards_in_view import inverted_finding, may_be, other_boards_finding
from cv3d.calibration.checks.mirroring import MIRRORED
from cv3d.calibration.detecting import BoardSightings, find_board
from cv3d.errors import EstimationError

Gray = NDArray[np.uint8]


def sightings(pictures: Sequence[Gray], board: Board | None = None) -> BoardSightings:
    return find_board(gather(list(pictures)).sources, board)


def located(found: BoardSightings) -> list[int]:
    return [i for i, picture in enumerate(found.pictures) if len(picture.detection.point_ids)]


class TestMirrored:
    @pytest.mark.parametrize("kind", ["charuco", pytest.param("aprilgrid", marks=pytest.mark.slow)])
    def test_markers_tell(self, kind: str, photograph: Any) -> None:
        pictures = photograph(getattr(photograph, kind)(), count=3, flipped=True)
        with pytest.raises(EstimationError, match=r"the pictures are mirrored .*image 0, image 1, image 2.*flip them"):
            sightings(pictures)

    def test_with_the_board_told(self, photograph: Any) -> None:
        board = Board(BoardType.CHARUCO, 5, 7, dictionary="5X5_100")
        with pytest.raises(EstimationError, match="mirrored"):
            sightings(photograph(photograph.charuco(), count=3, flipped=True), board)

    def test_one_of_several_is_left_out(self, photograph: Any) -> None:
        pictures = photograph(photograph.charuco(), count=3) + photograph(photograph.charuco(), count=1, flipped=True)
        found = sightings(pictures)
        assert located(found) == [0, 1, 2]
        assert found.pictures[3].detection.reason == MIRRORED

    def test_the_other_way_round_reads_the_same_corners(self, photograph: Any) -> None:
        upright = photograph(photograph.charuco(), count=2)
        twice = [
            np.ascontiguousarray(picture[:, ::-1])
            for picture in photograph(photograph.charuco(), count=2, flipped=True)
        ]
        for one, other in zip(sightings(upright).pictures, sightings(twice).pictures, strict=True):
            np.testing.assert_array_equal(one.detection.pixels, other.detection.pixels)

    def test_a_plain_checkerboard_cannot_tell(self, photograph: Any) -> None:
        found = sightings(photograph(photograph.checkerboard(6, 5), count=2, flipped=True))
        assert located(found) == [0, 1]


class TestInverted:
    @pytest.mark.parametrize("kind", ["charuco", "circles", pytest.param("aprilgrid", marks=pytest.mark.slow)])
    def test_it_is_recognised_and_said(self, kind: str, photograph: Any) -> None:
        drawn = photograph.circles(7, 5) if kind == "circles" else getattr(photograph, kind)()
        plain, inverted = (sightings(photograph(d, count=3)) for d in (drawn, 255 - drawn))
        assert located(plain) == located(inverted) == [0, 1, 2]
        assert (plain.board.rows, plain.board.cols) == (inverted.board.rows, inverted.board.cols)
        assert inverted_finding(plain.board, plain.pictures) is None
        finding = inverted_finding(inverted.board, inverted.pictures)
        assert finding is not None
        assert (finding.kind, finding.severity) == ("inverted_board", Severity.INFO)
        for one, other in zip(plain.pictures, inverted.pictures, strict=True):
            shared = np.intersect1d(one.detection.point_ids, other.detection.point_ids)
            a = one.detection.pixels[np.isin(one.detection.point_ids, shared)]
            b = other.detection.pixels[np.isin(other.detection.point_ids, shared)]
            assert len(shared) >= 0.9 * plain.board.point_count
            assert np.linalg.norm(a - b, axis=1).max() < 0.5

    def test_a_checkerboard_has_no_inverse(self, photograph: Any) -> None:
        found = sightings(photograph(255 - photograph.checkerboard(6, 5), count=2))
        assert (found.board.cols, found.board.rows) == (6, 5)
        assert inverted_finding(found.board, found.pictures) is None


CASES = [
    pytest.param("checkerboard", (8, 5), "checkerboard", (5, 4), "checkerboard 5x4", marks=pytest.mark.slow),
    pytest.param("checkerboard", (5, 4), "checkerboard", (8, 5), "checkerboard 8x5", marks=pytest.mark.slow),
    pytest.param("checkerboard", (8, 5), "charuco", (), "charuco 7x5", marks=pytest.mark.slow),
    ("checkerboard", (8, 5), "circles", (8, 6), "circles 8x6"),
    ("charuco", (), "checkerboard", (8, 5), "checkerboard 8x5"),
    pytest.param("charuco", (), "charuco", (6, 5, cv2.aruco.DICT_4X4_50), "charuco 6x5", marks=pytest.mark.slow),
    pytest.param("circles", (8, 6), "checkerboard", (8, 5), "checkerboard 8x5", marks=pytest.mark.slow),
    pytest.param("aprilgrid", (), "checkerboard", (8, 5), "checkerboard 8x5", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("most", "size", "few", "few_size", "words"), CASES)
def test_the_board_of_most_pictures_wins(
    most: str, size: tuple[int, ...], few: str, few_size: tuple[int, ...], words: str, photograph: Any
) -> None:
    pictures = photograph(getattr(photograph, most)(*size), count=4)
    pictures += photograph(getattr(photograph, few)(*few_size), count=2, seed=5)
    found = sightings(pictures)
    assert located(found) == [0, 1, 2, 3]
    assert found.board.type.value == most
    assert all(picture.detection.reason for picture in found.pictures[4:])
    finding = other_boards_finding(found.pictures)
    assert finding is not None
    assert finding.severity is Severity.WARNING
    assert set(finding.views) == {"image 4", "image 5"}
    assert words in finding.sentence


def test_two_boards_in_one_picture(photograph: Any) -> None:
    found = sightings(photograph(photograph.checkerboard(8, 5), photograph.checkerboard(5, 4), count=4))
    assert (found.board.cols, found.board.rows) == (8, 5)
    assert located(found) == [0, 1, 2, 3]
    finding = other_boards_finding(found.pictures)
    assert finding is not None
    assert finding.severity is Severity.INFO
    assert "second board (checkerboard 5x4)" in finding.sentence


def test_two_boards_of_one_dictionary_are_not_mixed(photograph: Any) -> None:
    found = sightings(photograph(photograph.charuco(), photograph.charuco(6, 5, first=20), count=3))
    assert (found.board.cols, found.board.rows, found.board.first_marker) == (7, 5, 0)
    alone = sightings(photograph(photograph.charuco(), count=3))
    assert (alone.board.cols, alone.board.rows) == (7, 5)


@pytest.mark.parametrize(
    ("found", "board", "expected"),
    [
        (Board(BoardType.CHECKERBOARD, 5, 8), Board(BoardType.CHECKERBOARD, 6, 9), True),
        (Board(BoardType.CHECKERBOARD, 4, 5), Board(BoardType.CHECKERBOARD, 6, 9), False),
        (Board(BoardType.CHECKERBOARD, 4, 6), Board(BoardType.CHARUCO, 7, 5), True),
        (Board(BoardType.CHECKERBOARD, 7, 9), Board(BoardType.CHARUCO, 7, 5), False),
        (Board(BoardType.CHECKERBOARD, 5, 5), Board(BoardType.APRILGRID, 6, 6, marker_ratio=0.3), True),
        (Board(BoardType.CIRCLES, 4, 6), Board(BoardType.CIRCLES, 5, 7), True),
        (Board(BoardType.CIRCLES, 4, 9), Board(BoardType.CIRCLES, 5, 7), False),
        (Board(BoardType.CIRCLES_HEX, 4, 6), Board(BoardType.CIRCLES, 5, 7), False),
    ],
)
def test_what_may_be_a_part_of_a_board(found: Board, board: Board, expected: bool) -> None:
    assert may_be(found, board) is expected


def test_a_calibration_carries_its_findings(photograph: Any) -> None:
    pictures = photograph(255 - photograph.charuco(), count=4) + photograph(
        255 - photograph.charuco(6, 5, cv2.aruco.DICT_4X4_50), count=2, seed=5
    )
    result = cv3d.calibrate(pictures, model="pinhole", board_warp="off")
    assert [finding.kind for finding in result.findings] == ["inverted_board", "other_board"]
    said = json.loads(json.dumps(result.as_dict()))["findings"]
    assert [(item["kind"], item["severity"]) for item in said] == [
        ("inverted_board", "info"),
        ("other_board", "warning"),
    ]
    assert said[1]["views"] == ["image 4", "image 5"]
    assert result.findings[1].sentence in result.warnings
    assert result.findings[0].sentence not in result.warnings
