//! Decides in which order states are visited: breadth first, so that what is found is found by as
//! few steps as can be.
//!
//! Of a state that was visited only a print stays, and by which step of which state it was found
//! first. The way to a state is found again by going those steps once more.

use crate::atlas::{Atlas, State, Step};
use crate::facts::Broken;
use crate::prints::{Prints, print_of};
use crate::rest::{Rests, Way};
use crate::story::Story;
use crate::trace;

/// How a story is explored.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// States beyond which the search ends unfinished.
    pub states_max: u64,
    /// Whether runs to rest begin at each so many states; at none if zero.
    pub rest_every: u64,
    /// Gives other prints.
    pub seed: u64,
}

/// What a search amounted to.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Different states.
    pub states: u64,
    /// Steps between them.
    pub steps: u64,
    /// Steps from the first state to the furthest.
    pub depth: u32,
    /// Whether there is no state left to visit.
    pub complete: bool,
    /// States of single nodes.
    pub nodes: usize,
    /// Different messages.
    pub messages: usize,
    /// Steps that the machines took; all others were looked up.
    pub handled: usize,
    /// Messages lost because too many were on their way.
    pub overflows: u64,
    /// States from which a run came to rest.
    pub rested: u64,
    /// The longest way to rest.
    pub longest: Way,
    /// What was broken, and the steps that did it.
    pub broken: Option<(Broken, Vec<String>)>,
}

struct Search {
    atlas: Atlas,
    plan: Plan,
    prints: Prints,
    /// Of each state but the first: from which it was found, and by which of its steps.
    parents: Parents,
    rests: Rests,
    steps: u64,
    depth: u32,
}

/// Explores the story.
#[must_use]
pub fn explore(story: Story, plan: Plan) -> Survey {
    let mut search = Search {
        atlas: Atlas::new(story),
        plan,
        prints: Prints::new(),
        parents: Parents::default(),
        rests: Rests::default(),
        steps: 0,
        depth: 0,
    };
    let found = search.run();
    let complete = found == Ok(true);
    Survey {
        states: search.prints.len() as u64,
        steps: search.steps,
        depth: search.depth,
        complete,
        nodes: search.atlas.nodes.len(),
        messages: search.atlas.dispatches.len(),
        handled: search.atlas.effects.len(),
        overflows: search.atlas.overflows,
        rested: search.rests.checked,
        longest: search.rests.longest,
        broken: found.err(),
    }
}

impl Search {
    /// True if all states were visited.
    fn run(&mut self) -> Result<bool, (Broken, Vec<String>)> {
        let first = self.atlas.first().map_err(|broken| (broken, Vec::new()))?;
        let mut row = Vec::new();
        first.pack(&mut row);
        self.prints.insert(print_of(self.plan.seed, &row));
        let mut level = Rows::default();
        level.push(&row);
        let mut number = 0;
        while !level.is_empty() {
            let mut next = Rows::default();
            for row in level.iter() {
                let state = State::unpack(self.atlas.story.nodes, row);
                self.visit(number, &state, &mut next)?;
                number += 1;
                if self.prints.len() as u64 >= self.plan.states_max {
                    return Ok(false);
                }
            }
            self.depth += u32::from(!next.is_empty());
            level = next;
        }
        Ok(true)
    }

    fn visit(
        &mut self,
        number: u32,
        state: &State,
        next: &mut Rows,
    ) -> Result<(), (Broken, Vec<String>)> {
        self.check_rest(number, state)?;
        let mut choices = Vec::new();
        let mut row = Vec::new();
        self.atlas.choices(state, &mut choices);
        for (ordinal, step) in choices.iter().enumerate() {
            self.steps += 1;
            let after = match self.atlas.after(state, *step) {
                Ok(after) => after,
                Err(broken) => return Err((broken, self.tell(number, &[*step]))),
            };
            after.pack(&mut row);
            if self.prints.insert(print_of(self.plan.seed, &row)) {
                self.parents.push(number, u8::try_from(ordinal).unwrap_or(u8::MAX));
                next.push(&row);
            }
        }
        Ok(())
    }

    /// Runs to rest from here: once all that is on its way comes, once it is lost.
    fn check_rest(&mut self, number: u32, state: &State) -> Result<(), (Broken, Vec<String>)> {
        let every = self.plan.rest_every;
        if every == 0 || u64::from(number) % every != 0 {
            return Ok(());
        }
        let lost = State { dispatches: Vec::new(), ..state.clone() };
        for (from, heading) in [
            (state, "then nothing more goes wrong"),
            (&lost, "then what is on its way is lost, and nothing more goes wrong"),
        ] {
            if let Err((broken, choices)) = self.rests.check(&mut self.atlas, from) {
                let mut lines = self.tell(number, &[]);
                lines.push(heading.to_owned());
                let (_, more) = trace::follow(&mut self.atlas, from.clone(), &choices);
                lines.extend(more);
                return Err((broken, lines));
            }
        }
        Ok(())
    }

    /// The way to a state and the steps after it, for people.
    fn tell(&mut self, number: u32, then: &[Step]) -> Vec<String> {
        let mut ordinals = Vec::new();
        let mut at = number;
        while at > 0 {
            let (parent, ordinal) = self.parents.of(at);
            ordinals.push(ordinal);
            at = parent;
        }
        let Ok(mut state) = self.atlas.first() else { return Vec::new() };
        let mut lines = Vec::new();
        let mut choices = Vec::new();
        for ordinal in ordinals.into_iter().rev() {
            self.atlas.choices(&state, &mut choices);
            let (next, more) =
                trace::follow(&mut self.atlas, state, &[choices[usize::from(ordinal)]]);
            (state, _) = (next, lines.extend(more));
        }
        let (_, more) = trace::follow(&mut self.atlas, state, then);
        lines.extend(more);
        lines
    }
}

/// By which step of which state each state was found, in pieces so that nothing is ever copied.
#[derive(Debug, Default)]
struct Parents(Vec<(Vec<u32>, Vec<u8>)>);

/// States in one piece.
const PIECE: usize = 1 << 20;

impl Parents {
    fn push(&mut self, parent: u32, ordinal: u8) {
        if self.0.last().is_none_or(|(parents, _)| parents.len() == PIECE) {
            self.0.push((Vec::with_capacity(PIECE), Vec::with_capacity(PIECE)));
        }
        if let Some((parents, ordinals)) = self.0.last_mut() {
            parents.push(parent);
            ordinals.push(ordinal);
        }
    }

    /// Of a state but the first.
    fn of(&self, number: u32) -> (u32, u8) {
        let place = number as usize - 1;
        let (parents, ordinals) = &self.0[place / PIECE];
        (parents[place % PIECE], ordinals[place % PIECE])
    }
}

/// Rows of different lengths, one after the other.
#[derive(Debug, Default)]
struct Rows {
    words: Vec<u32>,
}

impl Rows {
    fn push(&mut self, row: &[u32]) {
        self.words.push(u32::try_from(row.len()).unwrap_or(u32::MAX));
        self.words.extend_from_slice(row);
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    fn iter(&self) -> impl Iterator<Item = &[u32]> {
        let mut rest = &self.words[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (row, after) = after.split_at(*length as usize);
            rest = after;
            Some(row)
        })
    }
}
