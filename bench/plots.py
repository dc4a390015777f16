"""Small line charts as SVG text, for light and dark pages. Needs nothing but Python."""
import html
import math

COLOURS = ["#1f5fa8", "#c2570c", "#2b7a3d", "#7a3fa0", "#8a6d00", "#555555"]
INK, FAINT, PAPER = "#222222", "#dddddd", "#fcfcf9"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 430, 300, 58, 118, 48, 46


class Axis:
    """From figures to places, linear or logarithmic."""

    def __init__(self, values, low, high, log, zero=False):
        self.log, self.low, self.high = log, low, high
        least, most = min(values), max(values)
        if log:
            least, most = math.log(least), math.log(most)
            room = 0.06 * (most - least) or 0.3
            self.least, self.most = least - room, most + room
        else:
            least = 0 if zero else least
            room = 0.06 * (most - least) or 0.05 * abs(most) or 1
            self.least, self.most = (least if zero else least - room), most + room

    def place(self, value):
        value = math.log(value) if self.log else value
        return self.low + (self.high - self.low) * (value - self.least) / (self.most - self.least)

    def ticks(self):
        if not self.log:
            step = nice((self.most - self.least) / 5)
            first = math.ceil(self.least / step)
            return [i * step for i in range(first, int(self.most / step) + 1)]
        inside = [m * 10.0 ** e for e in range(-6, 13) for m in (1, 2, 5)
                  if self.least <= math.log(m * 10.0 ** e) <= self.most]
        tens = [value for value in inside if f"{value:e}"[0] == "1"]
        if len(tens) >= 4:
            return tens
        if len(inside) >= 3:
            return inside
        step = nice((math.exp(self.most) - math.exp(self.least)) / 5)
        first = math.ceil(math.exp(self.least) / step)
        return [i * step for i in range(max(first, 1), int(math.exp(self.most) / step) + 1)]


def nice(step):
    """1, 2 or 5 times a power of ten, not less than the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= step * 0.999)


def label(value):
    if value >= 1e9:
        return f"{value / 1e9:g}G"
    if value >= 10000:
        return f"{value / 1000:g}k"
    return f"{value:.4g}"


def panel(left, top, title, x, y, series, log_x=False, log_y=False, ticks=None, zero=False):
    """One chart. `series`: names and their points (x, middle, least, greatest)."""
    series = [(name, points) for name, points in series if points]
    across = Axis([p[0] for _, points in series for p in points], left + LEFT, left + WIDTH - RIGHT, log_x)
    right, floor, ceiling = left + WIDTH - RIGHT, top + HEIGHT - BOTTOM, top + TOP
    up = Axis([v for _, points in series for p in points for v in p[1:]], floor, ceiling, log_y, zero)
    out = [f'<text x="{left + LEFT}" y="{ceiling - 14}" font-weight="600">{html.escape(title)}</text>']
    for value in up.ticks():
        at = up.place(value)
        out.append(f'<path d="M{left + LEFT} {at:.1f}H{right}" stroke="{FAINT}"/>'
                   f'<text x="{left + LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label(value)}</text>')
    for value in ticks or across.ticks():
        at = across.place(value)
        out.append(f'<path d="M{at:.1f} {floor}v4" stroke="{INK}"/>'
                   f'<text x="{at:.1f}" y="{floor + 16}" text-anchor="middle">{label(value)}</text>')
    out.append(f'<path d="M{left + LEFT} {ceiling}V{floor}H{right}" fill="none" stroke="{INK}"/>'
               f'<text x="{(left + LEFT + right) / 2}" y="{floor + BOTTOM - 10}" text-anchor="middle">{html.escape(x)}</text>'
               f'<text transform="translate({left + 13} {(ceiling + floor) / 2}) rotate(-90)" text-anchor="middle">'
               f'{html.escape(y)}</text>')
    ends = []
    for (name, points), colour in zip(series, COLOURS):
        places = [(across.place(p[0]), up.place(p[1])) for p in points]
        out.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}" fill="none" '
                   f'stroke="{colour}" stroke-width="2"/>')
        bars = "".join(f"M{across.place(p[0]):.1f} {up.place(p[2]):.1f}V{up.place(p[3]):.1f}" for p in points)
        out.append(f'<path d="{bars}" stroke="{colour}" stroke-opacity=".5"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{colour}"/>' for a, b in places]
        ends.append((places[-1][1], name, colour, places[-1][0]))
    # Names stand where their curves end, apart from each other.
    place = ceiling - 12
    for at, name, colour, end in sorted(ends):
        place = max(at + 4, place + 13)
        out.append(f'<text x="{end + 7:.1f}" y="{place:.1f}" fill="{colour}">{html.escape(name)}</text>')
    return out


def write(path, title, panels):
    """An SVG file with charts, two in a row."""
    width, height = WIDTH * min(len(panels), 2), HEIGHT * ((len(panels) + 1) // 2)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
           f'font-family="system-ui, sans-serif" font-size="11" fill="{INK}" role="img">',
           f"<title>{html.escape(title)}</title>",
           f'<rect width="{width}" height="{height}" rx="6" fill="{PAPER}"/>',
           f'<text x="12" y="18" font-size="13" font-weight="600">{html.escape(title)}</text>']
    for index, given in enumerate(panels):
        out += panel(index % 2 * WIDTH, index // 2 * HEIGHT, **given)
    path.write_text("\n".join([*out, "</svg>"]) + "\n", encoding="utf-8")
