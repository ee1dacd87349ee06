//! One instance under test: it keeps only a state between two calls, and is moved as a plan says.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use whimbrel_isolate::{Answer, Code, DecodeLimits, Host, Outcome, Value, VmIsolate, VmState};

/// How often a program is stopped and moved, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The tiers by turns.
    pub tiers: &'static [TierName],
    /// After how many steps the first stop comes; never if `None`.
    pub every: Option<u64>,
    /// After how many stops the distance between them doubles at each.
    pub patience: u32,
}

/// The name of a tier and of how its code is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TierName {
    Reference,
    Fast,
    Counted,
}

/// Shared with the host of each life of an instance.
pub type Answers = Arc<Mutex<dyn FnMut(u32, &[Value]) -> Answer + Send>>;

struct Shared(Answers);

impl Host for Shared {
    fn call(
        &mut self,
        function: u32,
        arguments: &[Value],
        _: Option<&mut [u8]>,
        _: Option<&[u8]>,
    ) -> Answer {
        match self.0.lock() {
            Ok(mut answer) => answer(function, arguments),
            Err(_) => Answer::Return(Vec::new()),
        }
    }
}

pub struct Instance {
    pub codes: Vec<Code>,
    pub plan: Plan,
    pub state: VmState,
    pub answers: Answers,
    /// The program between two calls, if it is not moved there.
    resting: Option<VmIsolate>,
    /// How many moves there were in the last call.
    pub moves: u64,
    /// Whether an instance that was not run should have changed it.
    pub tainted: bool,
}

impl Instance {
    pub fn new(codes: Vec<Code>, plan: Plan, state: VmState, answers: Answers) -> Self {
        Self { codes, plan, state, answers, resting: None, moves: 0, tainted: false }
    }

    fn spawn(&self, tier: usize) -> Result<VmIsolate> {
        let code = &self.codes[tier % self.codes.len()];
        let host = Box::new(Shared(Arc::clone(&self.answers)));
        Ok(VmIsolate::spawn(code, self.state.clone(), host)?)
    }

    /// Takes what an isolate knows through its bytes.
    fn carry(&mut self, isolate: &mut VmIsolate) -> Result<()> {
        let captured = isolate.capture()?;
        let bytes = captured.encode();
        let decoded = VmState::decode(&bytes, &DecodeLimits::WIDE)?;
        anyhow::ensure!(decoded == captured, "decoding gave another state");
        anyhow::ensure!(decoded.encode() == bytes, "encoding again gave other bytes");
        self.state = decoded;
        Ok(())
    }

    /// Calls a function and moves the program as planned until it returns or traps.
    pub fn call(&mut self, function: u32, arguments: &[Value]) -> Result<Outcome> {
        let mut steps = self.plan.every;
        let mut stops = 0;
        self.moves = 0;
        let mut isolate = match self.resting.take() {
            Some(isolate) => isolate,
            None => self.spawn(0)?,
        };
        let mut outcome = isolate.call(function, arguments, steps);
        while outcome == Outcome::Stopped {
            self.moves += 1;
            stops += 1;
            if stops > self.plan.patience {
                steps = steps.map(|steps| steps.saturating_mul(2));
            }
            self.carry(&mut isolate).context("carrying the state")?;
            isolate = self.spawn(self.moves as usize).context("going on elsewhere")?;
            outcome = isolate.resume(steps);
        }
        if self.plan.every.is_some() {
            self.carry(&mut isolate).context("carrying the state at rest")?;
        } else {
            self.resting = Some(isolate);
        }
        Ok(outcome)
    }

    /// The state at rest.
    pub fn at_rest(&mut self) -> Result<VmState> {
        match &mut self.resting {
            Some(isolate) => Ok(isolate.capture()?),
            None => Ok(self.state.clone()),
        }
    }
}
