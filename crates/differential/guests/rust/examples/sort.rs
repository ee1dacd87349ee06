//! Quick sort: recursion, comparisons and swaps.

fn sort(list: &mut [u32]) {
    if list.len() < 2 {
        return;
    }
    let pivot = list[list.len() / 2];
    let (mut low, mut high) = (0, list.len() - 1);
    loop {
        while list[low] < pivot {
            low += 1;
        }
        while list[high] > pivot {
            high -= 1;
        }
        if low >= high {
            break;
        }
        list.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (left, right) = list.split_at_mut(low);
    sort(left);
    sort(right);
}

/// A digest of this many numbers in order.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let mut seed = 12_345_u32;
    let mut list: Vec<u32> = (0..n)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed
        })
        .collect();
    sort(&mut list);
    list.iter().fold(0_i64, |sum, it| sum.wrapping_mul(31).wrapping_add(i64::from(*it)))
}
