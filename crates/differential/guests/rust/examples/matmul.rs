//! The product of two matrices of floats: a short innermost loop.

/// A number made from the product of matrices of this size.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let n = n as usize;
    let left: Vec<f64> = (0..n * n).map(|at| (at % 17) as f64 * 0.25).collect();
    let right: Vec<f64> = (0..n * n).map(|at| (at % 13) as f64 - 3.0).collect();
    let mut product = vec![0.0; n * n];
    for i in 0..n {
        for k in 0..n {
            let factor = left[i * n + k];
            for j in 0..n {
                product[i * n + j] += factor * right[k * n + j];
            }
        }
    }
    let bits = product.iter().map(|it: &f64| it.to_bits());
    bits.fold(0_u64, |sum, it| sum.wrapping_mul(31).wrapping_add(it)) as i64
}
