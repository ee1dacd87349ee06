/* How far two texts are apart: a table filled by comparisons. */
typedef long long i64;

static unsigned char left[2048], right[2048];
static int row[2049];

__attribute__((export_name("run"))) i64 run(int n) {
    unsigned random = 1;
    for (int at = 0; at < n; at++) {
        random = random * 1664525u + 1013904223u;
        left[at] = 'a' + (random >> 24) % 7;
        right[at] = 'a' + (random >> 16) % 7;
    }
    for (int at = 0; at <= n; at++) row[at] = at;
    for (int i = 1; i <= n; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int best = corner + (left[i - 1] != right[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            corner = row[j];
            row[j] = best;
        }
    }
    return row[n];
}
