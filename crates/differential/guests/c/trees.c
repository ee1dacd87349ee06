/* Trees that are built and thrown away: recursion, pointers, an allocator. */
typedef long long i64;

struct node { struct node *left, *right; int key; };

static struct node pool[1 << 16];
static struct node *unused;

static struct node *take(void) {
    struct node *node = unused;
    unused = node->left;
    return node;
}

static struct node *insert(struct node *tree, int key) {
    if (!tree) {
        tree = take();
        tree->left = tree->right = 0;
        tree->key = key;
    } else if (key < tree->key) {
        tree->left = insert(tree->left, key);
    } else if (key > tree->key) {
        tree->right = insert(tree->right, key);
    }
    return tree;
}

static i64 drop(struct node *tree, int depth) {
    if (!tree) return 0;
    i64 sum = (i64)tree->key * depth + drop(tree->left, depth + 1) + drop(tree->right, depth + 1);
    tree->left = unused;
    unused = tree;
    return sum;
}

__attribute__((export_name("run"))) i64 run(int n) {
    unused = 0;
    for (int at = 0; at < 1 << 16; at++) {
        pool[at].left = unused;
        unused = &pool[at];
    }
    unsigned random = 7;
    i64 sum = 0;
    for (int round = 0; round < n; round++) {
        struct node *tree = 0;
        for (int at = 0; at < 2000; at++) {
            random = random * 1664525u + 1013904223u;
            tree = insert(tree, random >> 8);
        }
        sum += drop(tree, 1);
    }
    return sum;
}
