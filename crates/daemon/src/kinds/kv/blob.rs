//! Decides how byte strings are written: all at once. Serde would write a slice number by number;
//! in postcard the bytes are the same.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

struct Blob<'a>(&'a [u8]);

impl Serialize for Blob<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

pub(super) fn one<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

pub(super) fn maybe<S: Serializer>(bytes: &Option<&[u8]>, to: S) -> Result<S::Ok, S::Error> {
    bytes.map(Blob).serialize(to)
}

pub(super) fn pairs<S: Serializer>(pairs: &[(&[u8], &[u8])], to: S) -> Result<S::Ok, S::Error> {
    let mut list = to.serialize_seq(Some(pairs.len()))?;
    for (key, value) in pairs {
        list.serialize_element(&(Blob(key), Blob(value)))?;
    }
    list.end()
}
