# Applies the edits of one file: awk -v file=src/x.c -f edit.awk edits src/x.c, the edited text goes to stdout.
# An edit is a line with the file's name, lines that begin with "- " (what stands there, without its indentation, line
# by line) and lines that begin with "+ " (what takes their place). Others are comments. How often all of them applied,
# and which one not exactly once, goes to stderr.
function trim(s) { sub(/^[ \t]+/, "", s); sub(/[ \t]+$/, "", s); return s }
FNR == NR {
    if (/^[a-z].*\.c$/) { name = $0; now += name == file; next }
    if (name != file || !/^[-+]/) next
    text = trim(substr($0, 2))
    if (/^-/) old[now, ++olds[now]] = text
    else new[now, ++news[now]] = substr($0, 3)
    next
}
{ line[++lines] = $0 }
END {
    for (i = 1; i <= lines; i++) {
        for (e = 1; e <= now; e++) {
            for (k = 1; k <= olds[e] && trim(line[i + k - 1]) == old[e, k]; k++) ;
            if (k > olds[e]) break
        }
        if (e > now) { print line[i]; continue }
        for (k = 1; k <= news[e]; k++) print new[e, k]
        i += olds[e] - 1
        found[e]++
        applied++
    }
    for (e = 1; e <= now; e++)
        if (found[e] != 1) print file ": " found[e] + 0 " times: " old[e, 1] > "/dev/stderr"
    print applied + 0 > "/dev/stderr"
}
