//! Decides which compiled modules a node keeps: one for all isolates of the same module.
//!
//! # Limits
//!
//! * [`KEPT_MAX`] compiled modules are kept; beyond that the one that was asked for longest ago is
//!   forgotten, and lives on as long as an isolate runs it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::settings::Policy;
use crate::fast::{FastCode, Settings as CodeSettings};
use crate::isolate::Code;
use crate::module::{Digest, Module};
use crate::state::NanPolicy;

/// Compiled modules that are kept.
const KEPT_MAX: usize = 64;

/// The compiled modules of a node, and what it allows isolates.
#[derive(Debug, Default)]
pub struct Library {
    policy: Policy,
    arrivals_begin_anew: bool,
    /// The one that was asked for last comes last.
    kept: Mutex<Vec<(Key, Arc<OnceLock<Made>>)>>,
}

type Key = (Digest, NanPolicy);
type Made = Result<Code, String>;

impl Library {
    /// An empty one under a policy.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// Lets programs that arrive begin anew instead of going on: for those who check that this would
    /// be found.
    #[doc(hidden)]
    #[must_use]
    pub fn letting_arrivals_begin_anew(self) -> Self {
        Self { arrivals_begin_anew: true, ..self }
    }

    pub(super) fn lets_arrivals_begin_anew(&self) -> bool {
        self.arrivals_begin_anew
    }

    /// What the node allows.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The code of the module with these bytes. Compiling takes about a second for each MiB.
    pub(super) fn code(&self, bytes: &[u8], nan: NanPolicy) -> Result<Code, String> {
        if bytes.len() > self.policy.module_bytes_max {
            return Err(format!(
                "a module of {} bytes is more than the {} that this node allows",
                bytes.len(),
                self.policy.module_bytes_max
            ));
        }
        let key = (Digest(*blake3::hash(bytes).as_bytes()), nan);
        let place = self.place(key);
        // Whoever comes for the same module meanwhile waits for this.
        place.get_or_init(|| compile(bytes, nan)).clone()
    }

    fn place(&self, key: Key) -> Arc<OnceLock<Made>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(known, _)| *known == key);
        let entry = match found {
            Some(found) => kept.remove(found),
            None => (key, Arc::default()),
        };
        if kept.len() >= KEPT_MAX {
            kept.remove(0);
        }
        let place = Arc::clone(&entry.1);
        kept.push(entry);
        place
    }
}

fn compile(bytes: &[u8], nan: NanPolicy) -> Made {
    let module = Module::parse(bytes).map_err(|error| error.to_string())?;
    // Looks are counted, at every entry too: a turn stops at the same instruction wherever it is
    // replayed, and no guest goes on for long without one.
    let settings = CodeSettings { nan, ..CodeSettings::COUNTED };
    let code = FastCode::new(&Arc::new(module), settings).map_err(|error| error.to_string())?;
    Ok(Code::Fast(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolates_of_one_module_share_its_code_and_old_ones_are_forgotten() {
        let library = Library::default();
        let module = |number: usize| {
            wat::parse_str(format!("(module (func (export \"f{number}\")))")).unwrap()
        };
        let parsed = |number| {
            let code = library.code(&module(number), NanPolicy::Open).unwrap();
            Arc::clone(code.module())
        };
        let first = parsed(0);
        assert!(Arc::ptr_eq(&first, &parsed(0)));
        (1..=KEPT_MAX).for_each(|number| drop(parsed(number)));
        assert!(!Arc::ptr_eq(&first, &parsed(0)));
        assert_eq!(library.kept.lock().unwrap().len(), KEPT_MAX);
        assert!(library.code(b"\0asm\x01\0\0\0junk", NanPolicy::Open).is_err());
        let narrow = Library::new(Policy { module_bytes_max: 8, ..Policy::default() });
        assert!(narrow.code(&module(0), NanPolicy::Open).unwrap_err().contains("more than the 8"));
    }
}
