# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# The chart of the full benchmark as SVG: a line for each piece of work, a dot for each file system, from left to right
# the speed as a multiple of the reference's, on a logarithmic scale. Sourced by scripts/bench.
#
#   chart POINTS MACHINE   SVG to stdout. POINTS: lines "panel, what, name, speed, target" with tabs between; panel is
#                          hot (reference: the ext4) or cold (squashfs), target a speed or nothing

chart()
{
	awk -F '\t' -v machine="$2" '
	function esc(s) {
		gsub(/&/, "\\&amp;", s); gsub(/</, "\\&lt;", s); gsub(/>/, "\\&gt;", s)
		return s
	}
	function log2(v) { return log(v) / log(2) }
	function x_of(v) {
		v = log2(v)
		return left + (v < lo ? 0 : v > hi ? 1 : (v - lo) / (hi - lo)) * (right - left)
	}
	function text(x, y, anchor, size, s) {
		printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">%s</text>\n", x, y, anchor, size, esc(s)
	}
	function line(x1, y1, x2, y2, colour, width) {
		printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"%s\"/>\n", \
			x1, y1, x2, y2, colour, width
	}
	function dot(x, y, name) {
		printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" fill=\"%s\" stroke=\"white\"/>\n", \
			x, y, name ~ /^spill/ ? 6 : 4.5, colour[name]
	}
	function tick(v) { return v >= 1 ? v "x" : "1/" (1 / v) "x" }
	# One panel below y: its names as a legend, then the lines. Returns the y below it.
	function panel(p, title, y,    i, j, v, top, x) {
		if (!rows[p]) return y
		text(20, y, "start", 15, title)
		y += 22
		x = left
		for (i = 1; i <= split(legend[p], names, " "); i++) {
			if (!((p, names[i]) in seen)) continue
			dot(x, y - 4, names[i])
			text(x + 9, y, "start", 12, label[names[i]])
			x += 30 + 7 * length(label[names[i]])
		}
		line(x, y - 10, x, y + 2, "#222222", 2)
		text(x + 9, y, "start", 12, "target, or aim")
		y += 22
		top = y
		for (v = lo; v <= hi; v++) {
			line(x_of(2 ^ v), top, x_of(2 ^ v), top + rows[p] * step, v == 0 ? "#666666" : "#dddddd", v == 0 ? 1.5 : 1)
			text(x_of(2 ^ v), top + rows[p] * step + 14, "middle", 11, tick(2 ^ v))
		}
		for (i = 1; i <= rows[p]; i++) {
			y = top + (i - 0.5) * step
			text(left - 12, y + 4, "end", 12, what[p, i])
			if (target[p, i] != "")
				line(x_of(target[p, i]), y - 9, x_of(target[p, i]), y + 9, "#222222", 2)
			# ours last: on top
			for (j = split(legend[p], names, " "); j >= 1; j--)
				if ((p, i, names[j]) in speed)
					dot(x_of(speed[p, i, names[j]]), y, names[j])
		}
		return top + rows[p] * step + 50
	}
	BEGIN {
		left = 250; right = 920; step = 22; lo = -1; hi = 1
		legend["hot"] = "spillfs mergerfs bindfs unionfs-fuse fuse-overlayfs"
		legend["cold"] = "spill squash erofs btrfs"
		colour["spillfs"] = colour["spill"] = "#0072b2"
		colour["mergerfs"] = colour["squash"] = "#e69f00"
		colour["bindfs"] = colour["erofs"] = "#d55e00"
		colour["unionfs-fuse"] = colour["btrfs"] = "#009e73"
		colour["fuse-overlayfs"] = "#cc79a7"
		split(legend["hot"] " erofs", names, " ")
		for (i in names) label[names[i]] = names[i]
		label["spill"] = "spillfs"; label["squash"] = "squashfs zstd"; label["btrfs"] = "btrfs zstd:3"
	}
	$4 > 0 {
		if (!(($1, $2) in row)) { row[$1, $2] = ++rows[$1]; what[$1, rows[$1]] = $2 }
		speed[$1, row[$1, $2], $3] = $4
		seen[$1, $3] = 1
		if ($5 != "") target[$1, row[$1, $2]] = $5
		v = log2($4)
		while (v < lo && lo > -7) lo--
		while (v > hi && hi < 4) hi++
	}
	END {
		height = 60 + (rows["hot"] ? rows["hot"] * step + 94 : 0) + (rows["cold"] ? rows["cold"] * step + 94 : 0)
		printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 %d\" font-family=\"sans-serif\">\n", height
		printf "<rect width=\"960\" height=\"%d\" fill=\"white\"/>\n", height
		text(20, 24, "start", 12, machine ". Medians; further right is faster.")
		y = panel("hot", "Nothing spilled: speed as a multiple of the ext4 below", 54)
		panel("cold", "Spilled: reading, as a multiple of squashfs", y)
		print "</svg>"
	}' "$1"
}
