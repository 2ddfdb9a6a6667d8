"""Self-contained HTML pages: escaping, elements, the shell with its style sheet, and how numbers are printed.

A page loads nothing: its style is inline, its pictures are data URIs, and its content security policy says so. Few have
scripts; these are inline too, and named in the policy by their digests.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Sequence
from hashlib import sha256

_VOID = frozenset(["br", "col", "hr", "img", "input", "meta"])
_UNKNOWN = "–"
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Html(str):
    """Markup. Every other string is text, and is escaped where it meets markup."""

    __slots__ = ()


def escaped(text: str) -> Html:
    """Any text as markup; what UTF-8 cannot say (file names in another encoding) is written as escape sequences."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(text.encode("utf-8", "backslashreplace").decode("utf-8")))


def joined(parts: Iterable[str]) -> Html:
    """Parts one after another, plain strings escaped."""
    return Html("".join(escaped(part) for part in parts))


def tag(name: str, *children: str, **attributes: str | float | bool | None) -> Html:
    """One element.

    Args:
        name: the element's name.
        children: markup, or text that is escaped.
        attributes: by name; a trailing underscore is dropped (`class_`), others become hyphens. None and False leave
            the attribute out, True gives it no value.
    """
    written = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(attribute)
            continue
        text = f"{value:g}" if isinstance(value, float) else str(value)
        written.append(f'{attribute}="{escaped(text)}"')
    opening = f"<{' '.join(written)}>"
    return Html(opening) if name in _VOID else Html(f"{opening}{joined(children)}</{name}>")


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as a `data:` address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], numeric: Iterable[int] = ()) -> Html:
    """A table that scrolls sideways where the window is too narrow for it.

    Args:
        head: column titles.
        rows: the CSS class of each row, and its cells.
        numeric: indices of the columns that hold numbers, which are aligned to the right.
    """
    right = frozenset(numeric)

    def cells(kind: str, texts: Sequence[str]) -> list[Html]:
        return [
            tag(kind, text, class_="n" if i in right else None, scope="col" if kind == "th" else None)
            for i, text in enumerate(texts)
        ]

    body = [tag("tr", *cells("td", texts), class_=css or None) for css, texts in rows]
    grid = tag("table", tag("thead", tag("tr", *cells("th", head))), tag("tbody", *body))
    return tag("div", grid, class_="scroll")


def figure(drawing: Html, title: str, caption: str) -> Html:
    """A drawing in a card of its own, with its title above and its reading below."""
    return tag("figure", tag("h3", title), drawing, tag("figcaption", caption))


def section(anchor: str, title: str, *content: str) -> Html:
    """A section of the page that can be linked to."""
    return tag("section", tag("h2", title), *content, id=anchor)


def page(title: str, body: Iterable[str], scripts: Sequence[str] = ()) -> str:
    """A whole document.

    Args:
        title: of the window.
        body: what is in it.
        scripts: what runs at its end, in this order; the policy of the page lets nothing else run.
    """
    policy = _POLICY
    if scripts:
        digests = (base64.b64encode(sha256(script.encode("utf-8")).digest()).decode("ascii") for script in scripts)
        policy += "; script-src " + " ".join(f"'sha256-{digest}'" for digest in digests)
    head = joined(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=policy),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Html(_STYLE)),
        ]
    )
    running = (tag("script", Html(script)) for script in scripts)
    document = tag("html", tag("head", head), tag("body", tag("main", *body), *running), lang="en")
    return f"<!DOCTYPE html>\n{document}\n"


def number(value: float, digits: int = 3) -> str:
    """A number to `digits` significant digits without an exponent where that stays readable; a dash for NaN."""
    if math.isnan(value):
        return _UNKNOWN
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0.0:
        return "0"
    # The digits are counted after rounding: 0.9996 to three of them is 1.00.
    magnitude = int(f"{abs(value):.{digits - 1}e}".partition("e")[2])
    if not -5 <= magnitude <= 9:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    return f"{value:.{max(0, digits - 1 - magnitude)}f}".replace("-", "−")


def with_sigma(value: float, sigma: float) -> tuple[str, str]:
    """A value and its standard deviation as text, both to the decimal of the deviation's second digit.

    A deviation of zero means that the value was held, NaN that the data do not determine it.
    """
    if math.isnan(sigma):
        return number(value, 6), "not determined"
    if sigma == 0.0:
        return number(value, 6), "held"
    if math.isinf(sigma):
        return number(value, 6), "∞"
    magnitude = int(f"{sigma:.1e}".partition("e")[2])
    if magnitude < -7:
        power = math.floor(math.log10(max(abs(value), sigma)))
        decimals = max(0, power - magnitude + 1)
        scaled = [f"{number_ / 10.0**power:.{decimals}f}e{power}" for number_ in (value, sigma)]
        return scaled[0].replace("-", "−"), scaled[1].replace("-", "−")
    decimals = max(0, 1 - magnitude)
    return f"{value:.{decimals}f}".replace("-", "−"), f"{sigma:.{decimals}f}"


def percent(share: float) -> str:
    """A share between 0 and 1 as a percentage; a dash for NaN."""
    return _UNKNOWN if math.isnan(share) else f"{100.0 * share:.0f} %"


_STYLE = """
:root{--bg:#f6f7f8;--card:#fff;--ink:#1b2026;--soft:#5b6570;--line:#dfe3e7;--grid:#e9ecef;--accent:#0a62c9;
--tint:#e8f1fc;--warm:#c2410c;--mute:#8d97a2;--good:#187a48;--usable:#8a6100;--poor:#b3301f;--unobservable:#6a3fb5}
@media screen and (prefers-color-scheme:dark){:root{--bg:#101418;--card:#181d23;--ink:#e7eaee;--soft:#a3adb8;
--line:#2d353e;--grid:#252c34;--accent:#69b1ff;--tint:#16283c;--warm:#ff9a62;--mute:#76818c;--good:#4ccf8a;
--usable:#e5b84a;--poor:#ff8473;--unobservable:#b99bff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1240px;margin:0 auto;padding:28px clamp(14px,3vw,36px) 40px}
h1{font-size:clamp(20px,3vw,27px);line-height:1.25;margin:0;overflow-wrap:anywhere;font-weight:650}
h2{font-size:19px;margin:0 0 12px;font-weight:640}
h3{font-size:14px;margin:0 0 8px;font-weight:620}
p{margin:0 0 10px;max-width:75ch}
a{color:var(--accent)}
section{margin-top:38px;scroll-margin-top:12px}
.soft,figcaption{color:var(--soft)}
.head{display:flex;flex-wrap:wrap;gap:10px 16px;align-items:center;margin-bottom:12px}
.badge{font-weight:700;font-size:13px;letter-spacing:.02em;padding:3px 12px;border-radius:99px;color:var(--card);
background:var(--level);-webkit-print-color-adjust:exact;print-color-adjust:exact}
.good{--level:var(--good)}.usable{--level:var(--usable)}.poor{--level:var(--poor)}
.unobservable{--level:var(--unobservable)}
.verdict{border-left:4px solid var(--level);padding:2px 0 2px 14px;margin:0 0 14px}
.verdict p{font-size:17px;margin:0}
.verdict ul{margin:8px 0 0;padding-left:20px}
.note{border:1px solid var(--usable);border-radius:8px;padding:8px 14px;margin:0 0 14px}
.note ul{margin:2px 0;padding-left:20px}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;margin-top:18px;font-size:14px}
nav a{text-decoration:none}nav a:hover{text-decoration:underline}
.tiles{display:grid;gap:10px;margin:0 0 8px;padding:0;
grid-template-columns:repeat(auto-fill,minmax(min(46%,180px),1fr))}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:9px 13px}
.tile dt{font-size:12.5px;color:var(--soft)}
.tile dd{margin:1px 0 0;font-size:18px;font-weight:620;line-height:1.35;overflow-wrap:anywhere}
.tile small{font-size:12.5px;font-weight:400;color:var(--soft);display:block;line-height:1.35}
.stack{display:grid;gap:14px;align-content:start}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:14px;align-items:start}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;min-width:0;
break-inside:avoid}
figcaption{font-size:13.5px;margin-top:8px}
svg:where(:not(.js-plotly-plot *)){display:block;width:100%;height:auto;max-width:640px;margin:0 auto}
.broad svg{max-width:none}
svg text:where(:not(.js-plotly-plot *)){fill:var(--soft);font-size:13px;font-family:inherit}
@media screen and (max-width:560px){svg text:where(:not(.js-plotly-plot *)){font-size:16px}}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:10px}
table{border-collapse:collapse;width:max-content;min-width:100%;font-size:14px}
th,td{padding:6px 14px;text-align:left;border-top:1px solid var(--grid);vertical-align:middle;max-width:50ch}
thead th{border-top:0;font-weight:600;color:var(--soft);font-size:12.5px}
.n{text-align:right;white-space:nowrap}
tr.chosen td{background:var(--tint);font-weight:620;-webkit-print-color-adjust:exact;print-color-adjust:exact}
tr.off td{color:var(--soft)}
.bar{display:block;height:9px;min-width:2px;border-radius:2px;background:var(--mute);
-webkit-print-color-adjust:exact;print-color-adjust:exact}
.chosen .bar,.bar.on{background:var(--accent)}
.wide{min-width:110px;width:100%}
.file{overflow-wrap:anywhere}
.legend{display:flex;flex-wrap:wrap;gap:4px 20px;font-size:13.5px;color:var(--soft);margin:0 0 12px;padding:0;
list-style:none}
.legend svg{display:inline-block;width:26px;height:12px;margin-right:6px;vertical-align:-1px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,270px),1fr));gap:14px;align-items:start;
grid-auto-flow:dense}
.view{background:var(--card);border:1px solid var(--line);border-radius:10px;overflow:hidden;break-inside:avoid}
.view svg{max-width:none}
.view label{display:block;position:relative;cursor:zoom-in}
.view input{position:absolute;opacity:0;width:1px;height:1px}
.view:has(input:checked){grid-column:1/-1}
.view:has(input:checked) svg{max-height:92vh}
.view:has(input:checked) path[stroke-linecap=round]{stroke-width:6px}
.view:has(input:checked) label{cursor:zoom-out}
.view:has(input:focus-visible){outline:2px solid var(--accent)}
.view .cap{padding:8px 12px 10px;font-size:13.5px;line-height:1.4}
.view b{font-weight:620;overflow-wrap:anywhere}
.view .none{padding:26px 12px;text-align:center;color:var(--soft);background:var(--grid);font-size:13.5px}
details summary{cursor:pointer;margin:14px 0 10px;font-weight:600}
footer{margin-top:40px;padding-top:12px;border-top:1px solid var(--line);color:var(--soft);font-size:13px}
@media print{main{max-width:none;padding:0}nav{display:none}body{font-size:11pt;background:#fff}h2{break-after:avoid}
section{margin-top:22px}.gallery{grid-template-columns:repeat(3,1fr)}tr{break-inside:avoid}}
"""
