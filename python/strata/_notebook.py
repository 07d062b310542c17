"""How a segment shows itself in a notebook: its facts, and a picture of where its pages are."""

import html

from strata import _core

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#9d755d")
_ABSENT = "#dddddd"
_WIDTH = 480
_BAR = 22


def placement_svg(placement):
    """A bar of the pages on each node, and of those that have no memory yet, as an SVG.

    placement: as Segment.placement gives it.
    """
    parts = [
        ("node %d" % node, nbytes, _COLOURS[node % len(_COLOURS)])
        for node, nbytes in sorted(placement["bytes_on_node"].items())
    ]
    if placement["bytes_absent"]:
        parts.append(("no memory yet", placement["bytes_absent"], _ABSENT))
    total = sum(nbytes for _, nbytes, _ in parts)
    if not total:
        return ""
    drawn, legend, left = [], [], 0.0
    for row, (name, nbytes, colour) in enumerate(parts):
        width = _WIDTH * nbytes / total
        drawn.append(
            '<rect x="%.1f" y="0" width="%.1f" height="%d" fill="%s"/>' % (left, width, _BAR, colour)
        )
        top = _BAR + 8 + row * 18
        legend.append(
            '<rect x="0" y="%d" width="12" height="12" fill="%s"/>'
            '<text x="18" y="%d" font-family="sans-serif" font-size="12">%s: %s</text>'
            % (top, colour, top + 10, name, html.escape(_core.format_bytes(nbytes)))
        )
        left += width
    height = _BAR + 8 + 18 * len(parts)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" role="img" '
        'aria-label="pages on each NUMA node">%s%s</svg>'
        % (_WIDTH, height, "".join(drawn), "".join(legend))
    )


def segment_html(segment):
    """A table and, where the kernel says where the pages are, the picture."""
    title = "<b>%s</b>" % html.escape(segment.uri)
    if segment.closed:
        return title + " (closed)"
    rows = [
        ("size", _core.format_bytes(segment.nbytes)),
        ("mode", segment.mode),
        ("state", segment.state),
        ("uuid", segment.uuid),
    ]
    if segment.is_array:
        rows[:0] = [("dtype", segment.typestr), ("shape", str(segment.shape))]
    table = "".join(
        "<tr><th style='text-align:left'>%s</th><td style='text-align:left'>%s</td></tr>"
        % (name, html.escape(str(value)))
        for name, value in rows
    )
    placement = segment.placement
    picture = "" if placement is None else placement_svg(placement)
    return "%s<table>%s</table>%s" % (title, table, picture)
