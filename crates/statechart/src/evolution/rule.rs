//! Decides which rules there are, and what each of them asks for.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How well a definition takes over what runs under another one; the later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is the same definition.
    Identical,
    /// From here on nobody can tell the difference.
    Equivalent,
    /// Nothing that is alive is misread; what may come out differently later is listed.
    Compatible,
    /// Something alive is touched, and there is a safe way that somebody has to agree to.
    NeedsConsent,
    /// Something alive has no place: somebody has to say what becomes of it.
    NeedsPlan,
    /// It does not go.
    Refused,
}

impl Verdict {
    /// All of them, the best first.
    pub const ALL: [Self; 6] = [
        Self::Identical,
        Self::Equivalent,
        Self::Compatible,
        Self::NeedsConsent,
        Self::NeedsPlan,
        Self::Refused,
    ];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::Equivalent => "equivalent",
            Self::Compatible => "compatible",
            Self::NeedsConsent => "needs consent",
            Self::NeedsPlan => "needs plan",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What passes without a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Only what nobody can tell apart.
    Strict,
    /// That, and what misreads nothing.
    #[default]
    Standard,
    /// That, and what has a safe way: it is taken, and told.
    Guided,
}

impl Profile {
    /// The worst verdict that passes.
    #[must_use]
    pub const fn passes(self) -> Verdict {
        match self {
            Self::Strict => Verdict::Equivalent,
            Self::Standard => Verdict::Compatible,
            Self::Guided => Verdict::NeedsConsent,
        }
    }
}

macro_rules! rules {
    ($($id:ident $verdict:ident $about:literal;)*) => {
        /// A rule of the gate, by its id.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[allow(missing_docs, reason = "each is described in the table below and in the docs")]
        #[non_exhaustive]
        pub enum Rule { $($id,)* }

        impl Rule {
            /// All rules, in the order of their ids.
            pub const ALL: &[Self] = &[$(Self::$id,)*];

            /// Its id.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)* }
            }

            /// What it asks for when it is hit.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$id => Verdict::$verdict,)* }
            }

            /// When it is hit.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Self::$id => $about,)* }
            }
        }
    };
}

rules! {
    A1 Refused "the checkpoint's bytes were altered";
    A2 Refused "the checkpoint is of another definition than the old one";
    A3a NeedsPlan "the chart has another id";
    A3b Equivalent "version, display name or mode of expressions differ";
    A4 Refused "the checkpoint or definition has a format that is not read";
    A5 Refused "the new definition is not legal";
    A6 Refused "the checkpoint is not legal under the old definition";
    B1 NeedsPlan "an active state without active states in it is gone";
    B2 NeedsPlan "an active state that holds others is gone, or an active state stands in another one";
    B3 NeedsPlan "an active state is of another kind";
    B4 NeedsPlan "an active parallel state has a region more";
    B5 NeedsPlan "an active parallel state has a region less";
    B6 Refused "what the plan says cannot be active together";
    B7a NeedsConsent "an active state became final, or is final and was not to be";
    B7b NeedsPlan "the instance has ended in a state that is not final any more";
    B8 Equivalent "a state that nothing alive can reach differs";
    C1 NeedsConsent "a history remembers a state that is gone, or is gone itself";
    C2 NeedsConsent "a history that remembers something is of another kind or begins elsewhere";
    C3 Equivalent "a history that nothing alive can reach remembers what is gone";
    C4 NeedsConsent "what a history remembers cannot be active together";
    D2 NeedsConsent "a pending timer is declared with another delay, event, receiver or data";
    D3 NeedsPlan "a pending timer is declared nowhere";
    D4 NeedsConsent "an active state has a timer more";
    D5 NeedsConsent "the event of a pending timer is heard nowhere";
    E2 NeedsPlan "an event that waits is heard nowhere";
    E4 Compatible "an event that waits may be heard differently";
    F2 NeedsPlan "an invocation that runs is gone, or is of another chart, id or kind";
    F3 NeedsPlan "an active state has an invocation more";
    F4 NeedsConsent "a running child is heard, told or ordered differently";
    F6 Refused "the chart of a running child does not exist";
    F8 Compatible "a child that is started later is different";
    G1 NeedsPlan "a value is not of its type";
    G2a Compatible "data was added, and has a first value or needs none";
    G2b NeedsPlan "data was added that needs a value and has none";
    G3 NeedsConsent "data that has a value was removed";
    G4a Compatible "data was renamed or its type takes more";
    G4b Compatible "the type of data takes less, and its value fits";
    G5 Refused "a retired name is used again for another type";
    G7 Refused "a value that the plan asks for cannot be reckoned";
    H1 Compatible "a transition was added, removed, retargeted or put elsewhere";
    H2 Compatible "a condition, action, parameter or message differs";
    H3 Compatible "a transition waits for other events or is internal or not";
    H4 Compatible "states stand in another order, or one that can be entered stands elsewhere";
    H5 NeedsConsent "a transition without an event would be taken at once";
    H6 Compatible "a condition can never hold";
    H7 Equivalent "notes or names of transitions differ";
    H8 Compatible "what is entered later begins differently or is of another kind";
    I1a Refused "a function or kind of child that may be needed is not offered at the target";
    I1b Compatible "a function or kind of child that may be needed is another one at the target";
    K1 NeedsConsent "nothing leads out of where the instance is, and something did";
    K2 NeedsConsent "the end can not be reached, and could";
}

impl Rule {
    /// Whether a hit means that something may come out differently later.
    #[must_use]
    pub const fn differs_later(self) -> bool {
        matches!(
            self,
            Self::E4
                | Self::F8
                | Self::H1
                | Self::H2
                | Self::H3
                | Self::H4
                | Self::H6
                | Self::H8
                | Self::I1b
        )
    }

    /// The rule of an id.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == id)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
