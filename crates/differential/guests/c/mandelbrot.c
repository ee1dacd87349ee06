/* Points that stay near: floats in a loop whose length is not known. */
typedef long long i64;

__attribute__((export_name("run"))) i64 run(int n) {
    i64 inside = 0;
    for (int y = 0; y < n; y++) {
        for (int x = 0; x < n; x++) {
            double cr = 3.0 * x / n - 2.0, ci = 2.0 * y / n - 1.0, zr = 0, zi = 0;
            int step = 0;
            while (step < 100 && zr * zr + zi * zi < 4.0) {
                double next = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = next;
                step++;
            }
            inside += step;
        }
    }
    return inside;
}
