"""Printed pages: sound files, exact geometry, text that is where it is said to be."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from cv3d.errors import FormatError
from cv3d.formats.vector_page import POINTS_PER_MM, Circle, Font, Text, VectorPage, rectangle, text_width

SVG = "{http://www.w3.org/2000/svg}"
PAGE = VectorPage(
    120.0,
    80.0,
    (rectangle(10.0, 20.0, 30.0, 15.0), rectangle(20.0, 25.0, 5.0, 5.0), Circle(70.0, 40.0, 12.5)),
    (Text(10.0, 60.0, "a (b) \\ <c> & 100 %", 4.0), Text(10.0, 70.0, "--square 25mm", 4.0, Font.MONO)),
    "A title (with brackets) & more",
)


def render(page: VectorPage, dpi: float) -> np.ndarray:
    pdfium = pytest.importorskip("pypdfium2", reason="no renderer of PDF files")
    with pdfium.PdfDocument(page.pdf()) as document:
        picture = document[0].render(scale=dpi / 72.0, grayscale=True).to_numpy()
        return np.array(picture.reshape(picture.shape[:2]))


def test_the_pdf_is_sound() -> None:
    """The table of objects points at the objects, and the stream is as long as it says."""
    data = PAGE.pdf()
    assert data.startswith(b"%PDF-1.")
    assert data.endswith(b"%%EOF\n")
    start = int(re.search(rb"startxref\n(\d+)\n", data)[1])
    lines = data[start:].split(b"\n")
    assert lines[0] == b"xref"
    count = int(lines[1].split()[1])
    for number in range(1, count):
        place = int(lines[2 + number].split()[0])
        assert data[place:].startswith(b"%d 0 obj\n" % number)
        assert len(lines[2 + number]) == 19  # with its line end, 20 bytes
    length = int(re.search(rb"/Length (\d+)", data)[1])
    stream = data.index(b"stream\n") + len(b"stream\n")
    assert data[stream + length :].startswith(b"\nendstream")
    assert b"/PrintScaling /None" in data


def test_the_pdf_has_the_page_size_and_the_millimetres_themselves() -> None:
    data = PAGE.pdf().decode("latin-1")
    box = [float(value) for value in re.search(r"/MediaBox \[([^]]+)\]", data)[1].split()]
    assert box == pytest.approx([0.0, 0.0, 120.0 * 72.0 / 25.4, 80.0 * 72.0 / 25.4], abs=1e-6)
    assert "10 20 m 40 20 l 40 35 l 10 35 l h" in data
    matrix = [float(value) for value in re.search(r"\nq\n(.+) cm", data)[1].split()]
    assert matrix == pytest.approx([POINTS_PER_MM, 0, 0, -POINTS_PER_MM, 0, box[3]], abs=1e-6)


def test_the_pdf_is_rendered_true_to_scale() -> None:
    dpi = 254.0  # ten pixels to the millimetre
    black = render(PAGE, dpi) < 128
    assert black.shape == (800, 1200)
    box = black[190:360, 90:410]
    assert box.sum() == 300 * 150 - 50 * 50  # the inner rectangle is a hole
    disc = black[250:550, 550:850]
    assert disc.sum() == pytest.approx(np.pi * 125.0**2, rel=2e-3)
    y, x = np.nonzero(disc)
    assert (x.mean() + 550.5, y.mean() + 250.5) == pytest.approx((700.0, 400.0), abs=0.05)


def test_pdf_text_reads_as_written_and_is_as_wide_as_said() -> None:
    pdfium = pytest.importorskip("pypdfium2", reason="no renderer of PDF files")
    with pdfium.PdfDocument(PAGE.pdf()) as document:
        words = document[0].get_textpage().get_text_bounded()
        assert document.get_metadata_dict()["Title"] == PAGE.title
    assert words.split("\r\n") == [text.content for text in PAGE.texts]
    wide = VectorPage(120.0, 20.0, (), (Text(10.0, 12.0, "M" * 20, 5.0),))
    columns = np.nonzero((render(wide, 254.0) < 128).any(axis=0))[0]
    assert (columns[-1] - columns[0]) / 10.0 == pytest.approx(wide.texts[0].width, rel=0.02)


def test_the_svg_has_the_page_size_in_millimetres() -> None:
    root = ET.fromstring(PAGE.svg())
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("120mm", "80mm", "0 0 120 80")
    assert root.find(f"{SVG}title").text == PAGE.title
    path = root.find(f"{SVG}path")
    assert path.get("fill-rule") == "evenodd"
    assert path.get("d") == (
        "M10 20L40 20L40 35L10 35zM20 25L25 25L25 30L20 30zM57.5 40a12.5 12.5 0 1 0 25 0a12.5 12.5 0 1 0 -25 0z"
    )
    for element, text in zip(root.findall(f"{SVG}text"), PAGE.texts, strict=True):
        assert element.text == text.content
        assert float(element.get("textLength")) == pytest.approx(text.width, abs=1e-5)


def test_widths_of_characters_are_the_fonts() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    for font, file in ((Font.SANS, "Helvetica.afm"), (Font.MONO, "Courier.afm")):
        text = (Path(matplotlib.get_data_path()) / "fonts" / "pdfcorefonts" / file).read_text(encoding="latin-1")
        rows = re.findall(r"^C (-?\d+) ; WX (\d+) ; N (\w+) ;", text, re.MULTILINE)
        by_code = {chr(int(code)): float(width) for code, width, _ in rows if int(code) >= 32}
        by_name = {name: float(width) for _, width, name in rows}
        # The metrics' own encoding has curly quotes where the page's has the plain ones.
        expected = by_code | {"'": by_name["quotesingle"], "`": by_name["grave"]}
        for code in range(32, 127):
            assert text_width(chr(code), 1000.0, font) == pytest.approx(expected[chr(code)]), chr(code)


@pytest.mark.parametrize(("width", "height"), [(0.0, 10.0), (10.0, -1.0), (6000.0, 10.0)])
def test_sizes_that_no_page_has_are_refused(width: float, height: float) -> None:
    with pytest.raises(FormatError, match="a page is between"):
        VectorPage(width, height, ())


def test_text_that_the_fonts_lack_is_refused() -> None:
    with pytest.raises(FormatError, match="cannot be printed"):
        VectorPage(10.0, 10.0, (), (Text(0.0, 5.0, "25 µm", 3.0),))
    with pytest.raises(FormatError, match="cannot be printed"):
        VectorPage(10.0, 10.0, (), (), "two\nlines")
