//! Decides whether a program that stopped somewhere may go on with the code that is offered here.
//!
//! The state of a program means something to its own module alone, so the gate of a program is strict:
//! the same module, and whatever it imports.

use std::collections::BTreeSet;

use thiserror::Error;
use whimbrel_wire::Digest;

use crate::body::Objection;

/// The code under which a program runs, or that a node offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// The module, by its bytes.
    pub module: Digest,
    /// What it imports, or what can be imported, by `module.name:type`.
    pub imports: BTreeSet<String>,
}

/// Why a program does not go on.
///
/// Fault: whoever chose the place. Changed: nothing. Again: elsewhere, or with another build there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CodeMisfit {
    /// The place would run another module over its memory.
    #[error("the program runs {running} and this node has {offered}")]
    Module {
        /// The module of the program.
        running: Digest,
        /// The module here.
        offered: Digest,
    },
    /// The place does not offer what the module calls.
    #[error("this node does not offer {0}")]
    Import(String),
}

impl Code {
    /// Whether a program that runs this code may go on where `offered` is: the first misfit, in the
    /// order of names.
    ///
    /// # Errors
    ///
    /// [`CodeMisfit`]. What is offered beyond what is imported is no misfit.
    pub fn goes_on_with(&self, offered: &Self) -> Result<(), CodeMisfit> {
        if self.module != offered.module {
            let (running, offered) = (self.module, offered.module);
            return Err(CodeMisfit::Module { running, offered });
        }
        match self.imports.difference(&offered.imports).next() {
            Some(import) => Err(CodeMisfit::Import(import.clone())),
            None => Ok(()),
        }
    }
}

impl From<CodeMisfit> for Objection {
    fn from(misfit: CodeMisfit) -> Self {
        Self { summary: misfit.to_string(), report: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(module: u8, imports: &[&str]) -> Code {
        let imports = imports.iter().map(ToString::to_string).collect();
        Code { module: Digest::from_bytes([module; 32]), imports }
    }

    #[test]
    fn a_program_goes_on_with_its_own_module_where_all_that_it_imports_is() {
        let running = code(1, &["env.log:(i32)", "env.now:()->i64"]);
        assert_eq!(running.goes_on_with(&running), Ok(()));
        let more = code(1, &["env.log:(i32)", "env.now:()->i64", "env.send:(i32,i32)"]);
        assert_eq!(running.goes_on_with(&more), Ok(()));
        let less = code(1, &["env.now:()->i64"]);
        let misfit = CodeMisfit::Import("env.log:(i32)".to_owned());
        assert_eq!(running.goes_on_with(&less), Err(misfit));
        let other = code(2, &["env.log:(i32)", "env.now:()->i64"]);
        let told = running.goes_on_with(&other).unwrap_err();
        assert!(matches!(told, CodeMisfit::Module { .. }), "{told}");
    }
}
