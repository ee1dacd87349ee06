//! Decides how it is told whether a trace follows from the machines of this program.

use std::path::Path;

use anyhow::Result;
use whimbrel::protocol::{TraceRecord, Witness, signed_in};
use whimbrel::runtime::trace::{TraceError, TraceReader};

use crate::failure::Advice;
use crate::output::{count, say};

/// Feeds the machines what a trace says they were told; ends at the first step that differs.
pub(crate) fn verify(file: &Path) -> Result<()> {
    let wrong = |error: TraceError| {
        Advice::wrong(
            format!("could not read {}: {:#}", file.display(), anyhow::Error::from(error)),
            "name the file that the config of a node calls trace",
        )
    };
    // First the signatures: the key that made them is not in the trace.
    let mut signed = Vec::new();
    let mut reader = TraceReader::open(file).map_err(wrong)?;
    while let Some(record) = reader.next_record().map_err(wrong)? {
        signed.extend(signed_in(&record));
    }
    let mut reader = TraceReader::open(file).map_err(wrong)?;
    let header = reader.header().clone();
    let node = header.node.node_id();
    let refused = |difference| {
        Advice::failed(
            format!("{}: {difference}", file.display()),
            "was it written by this very version? Then please report it, with the trace",
        )
    };
    let mut witness = Witness::new(header, signed).map_err(refused)?;
    let mut is_full = false;
    while let Some(record) = reader.next_record().map_err(wrong)? {
        is_full |= record == TraceRecord::Full;
        witness.see(record).map_err(refused)?;
    }
    let end = match (is_full, reader.is_cut()) {
        (true, _) => ", until the trace was full",
        (false, true) => ", until the node was cut short",
        (false, false) => "",
    };
    say(&format!(
        "{} steps of {} daemons on {node} follow from the machines{end}",
        count(witness.steps()),
        count(witness.seats() as u64),
    ));
    Ok(())
}
