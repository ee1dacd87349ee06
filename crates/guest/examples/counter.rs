//! A reactor in Rust: counts words, declines what is no text, says every second how many there were.
//!
//! ```text
//! cargo build --release -p whimbrel-guest --example counter --target wasm32-unknown-unknown
//! whimbrel spawn isolate --module target/wasm32-unknown-unknown/release/examples/counter.wasm
//! ```

use std::collections::BTreeMap;

use whimbrel_guest::{Reactor, answer, now, publish, reactor, set_timer};

const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct Counter {
    words: BTreeMap<String, u64>,
}

impl Reactor for Counter {
    fn on_event(&mut self, event: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(event).map_err(|_| "only text is counted")?;
        for word in text.split_whitespace() {
            *self.words.entry(word.to_owned()).or_insert(0) += 1;
        }
        let all: u64 = self.words.values().sum();
        answer(format!("{all} words, {} different", self.words.len()).as_bytes());
        set_timer(1, now() + SECOND);
        Ok(())
    }

    fn on_timer(&mut self, _number: u64) {
        publish("words", self.words.len().to_string().as_bytes());
    }
}

reactor!(Counter);
