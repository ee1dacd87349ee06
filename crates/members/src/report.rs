//! Decides what a node says of itself to the others: what it offers, and how busy it is.
//!
//! # Invariants
//!
//! * R1 (own words): a report is believed only under the signature of the node that it is about, and only if
//!   it is newer than the one that is known.
//!
//! # Limits
//!
//! * [`REPORT_BYTES_MAX`]: names of tags and kinds that do not fit are left out, and the report says so.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use whimbrel_wire::{Digest, NodeId, NodeKey, PublicKey, Purpose, Signature, decode, encode};

/// How long a report is at most, in bytes: it has to fit into a datagram beside other news.
pub const REPORT_BYTES_MAX: usize = 800;

/// What a node offers to daemons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Whether it hosts daemons at all.
    pub hosts: bool,
    /// The kinds that it can build.
    pub kinds: BTreeSet<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
    /// Whether `kinds` and `tags` are all that it has. Otherwise it may have others too.
    pub is_whole: bool,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many daemons live there.
    pub daemons: u64,
    /// Memory that further daemons may claim, in bytes.
    pub memory_free_bytes: u64,
    /// How many threads want a processor, in thousandths of what it has: 1,000 is just enough for all. None
    /// where the system does not say.
    pub busy_permille: Option<u32>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whose report it is.
    pub key: PublicKey,
    /// In which run of the node it was made.
    pub run: u64,
    /// The how-manieth of that run.
    pub count: u64,
    /// What it offers.
    pub offer: Offer,
    /// How busy it is.
    pub load: Load,
}

/// A report with its signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedReport {
    /// What it says.
    pub report: Report,
    /// The signature of `report.key` over the digest of the report.
    pub signature: Signature,
}

impl Offer {
    /// As much of this as a report has room for.
    #[must_use]
    pub fn cut(mut self) -> Self {
        while encode(&self).len() > REPORT_BYTES_MAX - 160 {
            self.is_whole = false;
            if self.kinds.len() > self.tags.len() {
                self.kinds.pop_last()
            } else {
                self.tags.pop_last()
            };
        }
        self
    }
}

impl Report {
    /// The node that it is about.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.key.node_id()
    }

    /// What makes one report newer than another of the same node.
    #[must_use]
    pub const fn version(&self) -> (u64, u64) {
        (self.run, self.count)
    }

    /// Signs it.
    #[must_use]
    pub fn sign(self, key: &NodeKey) -> SignedReport {
        let signature = key.sign(self.digest().as_bytes());
        SignedReport { report: self, signature }
    }

    fn digest(&self) -> Digest {
        Digest::of(Purpose::Report, &encode(self))
    }
}

impl SignedReport {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The report that `bytes` are, if its signature holds.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::claimed(bytes).filter(Self::holds)
    }

    /// The report that `bytes` are, by whomever.
    pub(crate) fn claimed(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > REPORT_BYTES_MAX { None } else { decode(bytes).ok() }
    }

    /// Whether its signature holds.
    pub(crate) fn holds(&self) -> bool {
        let digest = self.report.digest();
        self.report.key.verify(digest.as_bytes(), &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tags: usize) -> Report {
        let tags = (0..tags).map(|tag| format!("a-tag-with-the-number-{tag:05}")).collect();
        let offer = Offer { hosts: true, kinds: BTreeSet::new(), tags, is_whole: true };
        let key = NodeKey::from_seed(&[1; 32]).public();
        Report { key, run: u64::MAX, count: u64::MAX, offer: offer.cut(), load: Load::default() }
    }

    #[test]
    fn a_report_fits_however_much_there_is_to_say() {
        let key = NodeKey::from_seed(&[1; 32]);
        for tags in [0, 3, 1_000] {
            let signed = report(tags).sign(&key);
            assert!(signed.bytes().len() <= REPORT_BYTES_MAX, "{}", signed.bytes().len());
            assert_eq!(signed.report.offer.is_whole, tags < 1_000);
            assert_eq!(SignedReport::read(&signed.bytes()), Some(signed));
        }
    }

    #[test]
    fn own_words_only() {
        let signed = report(3).sign(&NodeKey::from_seed(&[2; 32]));
        assert_eq!(SignedReport::read(&signed.bytes()), None);
        let good = report(3).sign(&NodeKey::from_seed(&[1; 32])).bytes();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(SignedReport::read(&bad), None, "byte {index}");
            assert_eq!(SignedReport::read(&good[..index]), None, "{index} bytes");
        }
    }
}
