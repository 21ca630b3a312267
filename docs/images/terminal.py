#!/usr/bin/env python3
"""Draws a terminal's plain text as an SVG picture: terminal.py TITLE < text > picture.svg"""

import html
import sys

LINE, WIDTH, PAD = 19, 8.05, 18


def main() -> None:
    lines = sys.stdin.read().rstrip("\n").split("\n")
    width = max(map(len, lines)) * WIDTH + 2 * PAD
    height = len(lines) * LINE + 2 * PAD + 26
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}">')
    print(f'<rect width="{width:.0f}" height="{height}" rx="8" fill="#10161a"/>')
    print(f'<text x="{PAD}" y="24" fill="#7f8f98" font-family="monospace" font-size="12">{html.escape(sys.argv[1])}</text>')
    print('<g fill="#d5e0e6" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13.2" xml:space="preserve">')
    for number, line in enumerate(lines):
        if line.strip():
            print(f'<text x="{PAD}" y="{PAD + 26 + number * LINE + 10}">{html.escape(line)}</text>')
    print("</g></svg>")


if __name__ == "__main__":
    main()
