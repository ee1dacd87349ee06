//! Every target, briefly and from a fixed seed; and that the driver finds what is wrong.

use std::hint::black_box;
use std::path::Path;

use whimbrel_fuzz::{Counting, Drive, Target, read, targets, write};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Enough to reach past the first length of every word; the gate runs more, the night many more.
const BRIEF: Drive = Drive { seed: 1, count: 1500 };

#[test]
fn no_target_panics_or_makes_room_for_what_is_only_claimed() {
    std::panic::set_hook(Box::new(|_| {}));
    for target in targets::ALL {
        let ran = BRIEF.run(target);
        let _ = std::panic::take_hook();
        assert!(ran.is_ok(), "{}", ran.unwrap_err());
        assert!(BRIEF.count / target.every < ran.unwrap().inputs, "{} has no corpus", target.name);
    }
}

/// The corpus is what the present code encodes. A format that changes changes this file, and with
/// `WHIMBREL_UPDATE=1` it is written anew.
#[test]
fn the_corpus_holds_what_is_encoded() {
    for target in targets::ALL {
        let seeds = targets::seeds(target.name);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("corpus/{}.hex", target.name));
        if std::env::var_os("WHIMBREL_UPDATE").is_some() {
            std::fs::write(&path, write(&seeds)).unwrap();
        }
        let corpus = read(&std::fs::read_to_string(&path).unwrap());
        let missing = seeds.iter().filter(|seed| !seed.is_empty() && !corpus.contains(seed));
        assert_eq!(missing.count(), 0, "{} lacks some of what is encoded", target.name);
    }
}

const CORPUS: &str = "0474657374\n";

#[test]
fn the_driver_finds_a_panic_past_the_first_bytes() {
    let run = |input: &[u8]| {
        if let [4, b't', rest @ ..] = input {
            assert!(rest.first() != Some(&0xff), "planted");
        }
    };
    let target = Target { name: "planted", corpus: CORPUS, growth_max: None, every: 1, run };
    let fault = Drive { seed: 1, count: 100_000 }.run(&target).unwrap_err();
    assert!(fault.what.contains("planted"), "{fault}");
    assert_eq!(fault.input[..3], [4, b't', 0xff]);
}

#[test]
fn the_driver_finds_room_made_for_a_claim() {
    let run = |input: &[u8]| {
        let claimed = u32::from_le_bytes(input.first_chunk().copied().unwrap_or_default());
        let _ = black_box(Vec::<u8>::with_capacity(claimed.min(1 << 24) as usize));
    };
    let target = Target { name: "planted", corpus: CORPUS, growth_max: Some(1024), every: 1, run };
    let fault = BRIEF.run(&target).unwrap_err();
    assert!(fault.what.contains("at once"), "{fault}");
    let trusting = Target { growth_max: None, ..target };
    assert!(BRIEF.run(&trusting).is_ok());
}

#[test]
fn equal_seeds_make_equal_inputs() {
    let run = |seed| {
        let target = Target {
            name: "planted",
            corpus: CORPUS,
            growth_max: None,
            every: 1,
            run: |input| assert!(input.len() < 40, "long"),
        };
        let fault = Drive { seed, count: 100_000 }.run(&target).unwrap_err();
        (fault.inputs, fault.input)
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
