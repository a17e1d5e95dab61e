# Writes 600 points: y is true over the line, but for every third point when there is noise.
awk -v line="$1" -v noise="$2" -v rows="$3" 'BEGIN {
    print "id,at,x,y"
    for (i = 0; i < rows; i++) {
        x = i * 37 % 101
        y = x > (i < 480 ? line : 50)
        if (noise && i * 7919 % 97 < 32) y = !y
        printf "%d,2026-01-%02dT%02d:00:00Z,%d,%s\n", i, 1 + int(i / 24), i % 24, x, y ? "true" : "false"
    }
}' > data/points.csv
