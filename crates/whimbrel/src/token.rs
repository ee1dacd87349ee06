//! Decides how tokens are made, narrowed, looked at and revoked from the command line. All but revoking is done
//! without a node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use whimbrel::runtime::admin::words::{Ask, HeldLine, Part, TokenText, daemon_of, daemon_text};
use whimbrel::trust::{
    Among, BlockId, ChannelPattern, MintError, PermissionToken, Scope, TrustRefusal, Verb,
};
use whimbrel::{EntityId, NodeId, PublicKey};
use zeroize::Zeroizing;

use crate::ask;
use crate::config;
use crate::failure::Advice;
use crate::output::{self, say};
use crate::words::Place;

/// Longest life of a token that is made here.
const DAYS_MAX: u64 = 3_660;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenWords {
    /// Make a root key, which signs tokens, and print the line that believes it. Keep it off the nodes.
    Root {
        /// The new file for it.
        file: PathBuf,
    },
    /// Make a token.
    Mint {
        /// The file with the root key.
        #[arg(long, value_name = "FILE")]
        root: PathBuf,
        #[command(flatten)]
        what: ScopeWords,
    },
    /// Make a token that allows less than one that you have. Nobody need be asked.
    Attenuate {
        /// The file with the token that is narrowed.
        from: PathBuf,
        #[command(flatten)]
        what: ScopeWords,
    },
    /// Print what a token allows, until when, and the ids of its blocks.
    Inspect {
        /// The file with the token.
        file: PathBuf,
        /// A root key that should have signed it: 64 digits.
        #[arg(long, value_name = "KEY")]
        root: Option<String>,
    },
    /// Have the node believe it no more, nor anything that was made from it. The node tells the other members.
    Revoke {
        /// The file with the token, or the id of a block.
        what: String,
    },
    /// Give a token to a daemon that runs at the node: its own code may then do what the token says, wherever it
    /// moves.
    Give {
        /// Which daemon.
        daemon: String,
        /// The file with the token.
        file: PathBuf,
    },
    /// Take a token from a daemon that runs at the node, and all that were made from the same block.
    Take {
        /// Which daemon.
        daemon: String,
        /// The file with the token, or the id of a block.
        what: String,
    },
    /// Print which tokens a daemon holds that runs at the node, without their secrets.
    Held {
        /// Which daemon.
        daemon: String,
    },
}

/// What a token is to allow. What is not said is not restricted, or stays as it is in the token that is
/// narrowed.
#[derive(Args, Debug)]
pub(crate) struct ScopeWords {
    /// For whom it is.
    #[arg(long, value_name = "NAME")]
    holder: String,
    /// Which acts: observe, deliver, publish, subscribe, migrate, admin.
    #[arg(long, value_name = "VERBS", value_delimiter = ',')]
    may: Vec<String>,
    /// To which daemons, by all 64 digits.
    #[arg(long, value_name = "DAEMONS", value_delimiter = ',')]
    daemons: Vec<String>,
    /// On which channels: names, or beginnings of names and *.
    #[arg(long, value_name = "CHANNELS", value_delimiter = ',')]
    channels: Vec<String>,
    /// To which nodes daemons may be moved: n123.
    #[arg(long, value_name = "NODES", value_delimiter = ',')]
    to: Vec<String>,
    /// For how long: 90s, 15m, 12h, 30d.
    #[arg(long = "for", value_name = "TIME")]
    life: Option<String>,
    /// Whoever gets it cannot narrow it further.
    #[arg(long)]
    sealed: bool,
    /// The new file for it.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(place: &Place, words: TokenWords) -> Result<()> {
    match words {
        TokenWords::Root { file } => {
            config::write_seed(&file)?;
            let key = config::read_key(&file)?.public();
            output::complain(
                "paste this line into the config file of each node, before [[members]]:",
            );
            say(&format!("trust_roots = [\"{key}\"]"));
            Ok(())
        }
        TokenWords::Mint { root, what } => {
            let root = config::read_key(&root)?;
            let widest = Scope::everything(now()?.saturating_add(DAYS_MAX * 86_400));
            if what.life.is_none() {
                return Err(Advice::wrong("a token has an end", "add --for, such as --for 30d"));
            }
            if what.may.is_empty() {
                return Err(Advice::wrong(
                    "it is not said what the token allows",
                    "add --may, such as --may observe,deliver",
                ));
            }
            let scope = scope(&what, &widest)?;
            let minted = PermissionToken::mint(&root, &what.holder, scope, &seed()?);
            write(&minted.map_err(unmade)?, &what)
        }
        TokenWords::Attenuate { from, what } => {
            let from = read(&from)?;
            let scope = scope(&what, from.scope())?;
            let narrowed = from.attenuate(&what.holder, scope, &seed()?);
            write(&narrowed.map_err(unmade)?, &what)
        }
        TokenWords::Inspect { file, root } => inspect(&read(&file)?, root.as_deref()),
        TokenWords::Revoke { what } => {
            let block = block(&what)?;
            ask::put(place, Ask::Revoke { block }).await?;
            output::complain(
                "revoked; members that are up are told at once, others when they are up again",
            );
            Ok(())
        }
        TokenWords::Give { daemon, file } => {
            let token = text(&file)?;
            ask::put(place, Ask::Give { daemon, token }).await?;
            output::complain("given; it moves with the daemon");
            Ok(())
        }
        TokenWords::Take { daemon, what } => {
            let block = block(&what)?;
            ask::put(place, Ask::Take { daemon, block }).await?;
            output::complain("taken away");
            Ok(())
        }
        TokenWords::Held { daemon } => {
            let see = |part| {
                if let Part::Token(HeldLine { holder, block }) = part {
                    say(&format!("{block}  {holder}"));
                }
            };
            ask::put_with(place, Ask::Held { daemon }, see).await?;
            Ok(())
        }
    }
}

/// The id that is written, or that of the last block of the token in a file.
fn block(what: &str) -> Result<String> {
    let id = match BlockId::of(what) {
        Some(id) => id,
        None => last_id(&read(Path::new(what))?)?,
    };
    Ok(id.to_string())
}

/// The token in a file that only its owner can read.
pub(crate) fn read(file: &Path) -> Result<PermissionToken> {
    let unreadable = |error: std::io::Error| {
        Advice::wrong(
            format!("could not read the token in {}: {error}", file.display()),
            "name the file that whimbrel token mint wrote",
        )
    };
    let mode = fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Advice::wrong(
            format!("others can read the token in {}", file.display()),
            format!("chmod 600 {}", file.display()),
        ));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(unreadable)?);
    PermissionToken::from_text(&text).map_err(|error| {
        Advice::wrong(
            format!("{}: {error}", file.display()),
            "use a whole and unchanged file that whimbrel token mint or attenuate wrote",
        )
    })
}

/// The token of a file, to be shown to a node.
pub(crate) fn text(file: &Path) -> Result<TokenText> {
    read(file).map(|token| TokenText::new(&token))
}

fn write(token: &PermissionToken, what: &ScopeWords) -> Result<()> {
    let token = if what.sealed { token.sealed() } else { token.clone() };
    let mut text = token.to_text();
    text.push('\n');
    config::write_new(&what.out, text.as_bytes(), 0o600)?;
    output::complain(&format!("wrote {}", what.out.display()));
    say(&last_id(&token)?.to_string());
    Ok(())
}

fn last_id(token: &PermissionToken) -> Result<BlockId> {
    token.ids().last().copied().context("the token has no block")
}

fn unmade(error: MintError) -> anyhow::Error {
    let next = match error {
        MintError::Wider => "ask for less than whimbrel token inspect shows",
        MintError::Sealed | MintError::TooManyBlocks => "ask for a token to be made for you",
        MintError::Unbounded | _ => {
            "name fewer things, and the holder in at most 64 letters without >"
        }
    };
    Advice::wrong(error.to_string(), next)
}

/// What was said, where nothing was said what `wider` allows.
fn scope(words: &ScopeWords, wider: &Scope) -> Result<Scope> {
    let wrong = |word: &str, what: &str| Advice::wrong(format!("{word:?} is {what}"), "mend it");
    let mut scope = wider.clone();
    if !words.may.is_empty() {
        let verbs =
            words.may.iter().map(|word| Verb::of(word).ok_or_else(|| wrong(word, "no act")));
        scope.verbs = verbs.collect::<Result<_>>()?;
    }
    if !words.daemons.is_empty() {
        let all = words.daemons.iter().map(|word| {
            daemon_of(word).ok_or_else(|| wrong(word, "not all 64 digits of a daemon"))
        });
        scope.daemons = Among::listed(all.collect::<Result<Vec<EntityId>>>()?);
    }
    if !words.channels.is_empty() {
        let all = words.channels.iter().map(|word| {
            ChannelPattern::new(word.clone()).ok_or_else(|| wrong(word, "no name of channels"))
        });
        scope.channels = Among::listed(all.collect::<Result<Vec<ChannelPattern>>>()?);
    }
    if !words.to.is_empty() {
        let node = |word: &String| {
            let number = word.strip_prefix('n').and_then(|digits| digits.parse().ok());
            number.map(NodeId::new).ok_or_else(|| wrong(word, "no node: n and a number"))
        };
        scope.nodes = Among::listed(words.to.iter().map(node).collect::<Result<Vec<NodeId>>>()?);
    }
    if let Some(life) = &words.life {
        scope.until = now()?.saturating_add(
            seconds(life)
                .ok_or_else(|| wrong(life, "no time: 90s, 15m, 12h or 30d, at most ten years"))?,
        );
    }
    Ok(scope)
}

fn seconds(text: &str) -> Option<u64> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit).filter(|&seconds| seconds <= DAYS_MAX * 86_400)
}

fn inspect(token: &PermissionToken, root: Option<&str>) -> Result<()> {
    for ((holder, scope), id) in token.scopes().zip(token.ids()) {
        let verbs: Vec<&str> = scope.verbs.iter().map(|verb| verb.as_str()).collect();
        say(&format!("holder    {holder}"));
        say(&format!("may       {}", verbs.join(",")));
        say(&format!("daemons   {}", listed(&scope.daemons, daemon_text)));
        say(&format!("channels  {}", listed(&scope.channels, ToString::to_string)));
        say(&format!("to        {}", listed(&scope.nodes, ToString::to_string)));
        say(&format!("until     {} s since 1970, {}", scope.until, left(scope.until)?));
        say(&format!("block     {id}"));
        say("");
    }
    say(if token.is_sealed() { "sealed" } else { "can be narrowed" });
    let Some(root) = root else { return Ok(()) };
    let key = public_key(root).ok_or_else(|| {
        Advice::wrong("the root key is not 64 hexadecimal digits", "paste it from trust_roots")
    })?;
    token.verify(&[key]).map_err(|refusal: TrustRefusal| {
        Advice::failed(refusal.to_string(), "ask whoever gave it to you for a whole one")
    })?;
    say("signed by that root, whole");
    Ok(())
}

/// The key of 64 digits.
pub(crate) fn public_key(text: &str) -> Option<PublicKey> {
    PublicKey::parse(text.trim())
}

fn listed<T: Ord>(among: &Among<T>, text: impl Fn(&T) -> String) -> String {
    match among {
        Among::Any => "any".to_owned(),
        Among::These(listed) => listed.iter().map(text).collect::<Vec<_>>().join(","),
    }
}

fn left(until: u64) -> Result<String> {
    let now = now()?;
    Ok(match until.checked_sub(now) {
        None => "expired".to_owned(),
        Some(left) if left >= 86_400 => format!("{} days left", left / 86_400),
        Some(left) => format!("{left} s left"),
    })
}

fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock of this machine stands before 1970")?.as_secs())
}

fn seed() -> Result<Zeroizing<[u8; 32]>> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).context("the system gives no random bytes")?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_have_units_and_an_end() {
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("30d"), Some(30 * 86_400));
        for bad in ["", "5", "d", "-1d", "1y", "99999d", "99999999999999999999d"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
