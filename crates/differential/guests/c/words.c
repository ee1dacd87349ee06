/* Words counted in a table of hashes: bytes, chains, divisions. */
typedef long long i64;

struct entry { unsigned hash, count, next; };

static struct entry entries[1 << 15];
static unsigned heads[4099];

__attribute__((export_name("run"))) i64 run(int n) {
    for (int at = 0; at < 4099; at++) heads[at] = 0;
    unsigned used = 1, random = 3;
    i64 steps = 0;
    for (int word = 0; word < n; word++) {
        random = random * 1664525u + 1013904223u;
        unsigned hash = 2166136261u, rest = (random >> 12) % 20000;
        do {
            hash = (hash ^ ('0' + rest % 10)) * 16777619u;
            rest /= 10;
        } while (rest);
        unsigned *at = &heads[hash % 4099];
        while (*at && entries[*at].hash != hash) {
            at = &entries[*at].next;
            steps++;
        }
        if (!*at) {
            entries[used] = (struct entry){hash, 0, 0};
            *at = used++;
        }
        entries[*at].count++;
    }
    return steps * 100000 + used;
}
