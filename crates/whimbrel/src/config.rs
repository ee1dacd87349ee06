//! Decides what a config file says about a node.
//!
//! ```toml
//! name = "east"
//! data = "."                    # a folder; relative to this file
//! key = "node.key"              # 64 hexadecimal digits, readable by its owner only
//! listen = "127.0.0.1:7001"
//!
//! [[members]]                   # every other node; `whimbrel node key` prints these lines
//! name = "west"
//! key = "c0ffee…"
//! addresses = ["127.0.0.1:7002"]
//!
//! # mesh = "0123…"              # before [[members]]: 32 hexadecimal digits; then nodes can be invited
//! # inviters = ["east"]         # before [[members]]: whose word counts when nodes join
//! # trace = "node.trace"        # before [[members]]: the steps of the machines; holds payloads
//!
//! # trust_roots = ["c0ffee…"]   # before [[members]]: who signs tokens; then nothing goes without one
//! # open_channels = ["public/*"] # before [[members]]: channels that need no token all the same
//!
//! # statecharts = ["order.json"] # before [[members]]: what statecharts of their ids go on under here
//! # statecharts_closed = true     # before [[members]]: no other statecharts at all
//!
//! [isolates]                    # the most that one isolate may claim; only what differs
//! memory_bytes_max = 67108864    # also module_bytes_max, table_elements_max, frames_max,
//!                                # files_bytes_max, looks_max
//! # workers = 2                  # threads that run isolates; all of them at most looks_per_second
//! # steals = true                # takes isolates from nodes with more to run, and lets such nodes take
//!
//! [settings]                    # only what differs from the defaults
//! freeze_max_ms = 2000
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use whimbrel::isolate::daemon::Policy;
use whimbrel::runtime::admin::words::Seed;
use whimbrel::statechart::Definition;
use whimbrel::trust::ChannelPattern;
use whimbrel::{Member, MeshId, NodeId, NodeKey, Palette, PublicKey, Settings, TrustConfig};
use zeroize::Zeroizing;

use crate::failure::Advice;

/// The config file in the folder of a node.
pub(crate) const CONFIG_FILE: &str = "node.toml";

/// The key file in the folder of a node.
pub(crate) const KEY_FILE: &str = "node.key";

/// A node, as its file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) listen: SocketAddr,
    /// Where others find it, if not where it listens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) addresses: Vec<SocketAddr>,
    /// The mesh to which nodes can be invited: 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mesh: Option<String>,
    /// Whose word counts when others join or are expelled: names of nodes in this file, or keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inviters: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<usize>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<bool>,
    /// The keys that sign tokens. With one, nothing goes without a token.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trust_roots: Vec<String>,
    /// Channels that need no token all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) open_channels: Vec<String>,
    /// Definitions under which statecharts of their ids are born here, and go on if the gate lets them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) statecharts: Vec<PathBuf>,
    /// Whether this node takes statecharts of these definitions only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) statecharts_closed: bool,
    /// What this node allows each isolate.
    #[serde(default, skip_serializing_if = "IsolatesConfig::says_nothing")]
    pub(crate) isolates: IsolatesConfig,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) members: Vec<MemberConfig>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) settings: BTreeMap<String, u64>,
}

/// The most that an isolate may claim at this node; what is not said is as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IsolatesConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    module_bytes_max: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memory_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    table_elements_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frames_max: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    files_bytes_max: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    looks_max: Option<u64>,
    /// Threads that run isolates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workers: Option<usize>,
    /// The most looks in a second of all isolates together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looks_per_second: Option<u64>,
    /// Whether it takes isolates from nodes with more of them to run, and lets such nodes take its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) steals: bool,
}

impl IsolatesConfig {
    fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// What this node allows.
    pub(crate) fn policy(&self) -> Policy {
        let all = Policy::default();
        Policy {
            module_bytes_max: self.module_bytes_max.unwrap_or(all.module_bytes_max),
            memory_bytes_max: self.memory_bytes_max.unwrap_or(all.memory_bytes_max),
            table_elements_max: self.table_elements_max.unwrap_or(all.table_elements_max),
            frames_max: self.frames_max.unwrap_or(all.frames_max),
            files_bytes_max: self.files_bytes_max.unwrap_or(all.files_bytes_max),
            polls_max: self.looks_max.unwrap_or(all.polls_max),
        }
    }
}

/// Another node.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MemberConfig {
    pub(crate) name: String,
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) addresses: Vec<SocketAddr>,
}

impl NodeConfig {
    /// What the file says, with its paths made absolute.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|error| {
            Advice::wrong(
                format!("could not read {}: {error}", file.display()),
                "make one with whimbrel node init DIR --name NAME --listen ADDRESS:PORT",
            )
        })?;
        let mut config = Self::parse(&text, &file.display())?;
        let folder = file.parent().unwrap_or_else(|| Path::new("."));
        let folder = std::path::absolute(folder).context("could not find the config file")?;
        // Without the dots: some systems allow only about 100 letters for a socket.
        config.data = folder.join(&config.data).components().collect();
        config.key = folder.join(&config.key).components().collect();
        config.trace = config.trace.map(|file| folder.join(file));
        config.statecharts.iter_mut().for_each(|file| *file = folder.join(&*file));
        Ok(config)
    }

    /// What this text of a file of that name says, with its paths as they were written.
    fn parse(text: &str, file: &dyn std::fmt::Display) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            Advice::wrong(
                format!("{file}, line {line}: {}", error.message()),
                "mend that line; whimbrel node init makes an example",
            )
        })?;
        config.members()?;
        config.settings()?;
        config.trust()?;
        config.mesh_id()?;
        Ok(config)
    }

    /// The others.
    pub(crate) fn members(&self) -> Result<Vec<Member>> {
        let mut seen = BTreeSet::new();
        let mut members = Vec::new();
        for member in &self.members {
            let key = member.public_key()?;
            if !seen.insert(key) || member.name == self.name {
                return Err(Advice::wrong(
                    format!("the member {:?} is listed twice, or is this node", member.name),
                    "list each other node once",
                ));
            }
            members.push(Member { key, addresses: member.addresses.clone() });
        }
        Ok(members)
    }

    /// Whose tokens it believes.
    pub(crate) fn trust(&self) -> Result<TrustConfig> {
        let root = |text: &String| {
            crate::token::public_key(text).ok_or_else(|| {
                Advice::wrong(
                    format!("the trust root {text:?} is not 64 hexadecimal digits"),
                    "paste what whimbrel token root prints",
                )
            })
        };
        let channel = |text: &String| {
            ChannelPattern::new(text.clone()).ok_or_else(|| {
                Advice::wrong(
                    format!("the open channel {text:?} is no name of channels"),
                    "write a name, or the beginning of names and *",
                )
            })
        };
        Ok(TrustConfig {
            roots: self.trust_roots.iter().map(root).collect::<Result<_>>()?,
            open_channels: self.open_channels.iter().map(channel).collect::<Result<_>>()?,
            folder: Some(self.data.clone()),
        })
    }

    /// The mesh to which nodes can be invited.
    pub(crate) fn mesh_id(&self) -> Result<Option<MeshId>> {
        let parse = |text: &String| {
            MeshId::parse(text).ok_or_else(|| {
                Advice::wrong(
                    format!("the mesh {text:?} is not 32 hexadecimal digits"),
                    "draw one at random, and give it to all nodes of the mesh",
                )
            })
        };
        self.mesh.as_ref().map(parse).transpose()
    }

    /// Whose word counts when others join or are expelled.
    pub(crate) fn inviters(&self, own: PublicKey) -> Result<BTreeSet<PublicKey>> {
        let key_of = |word: &String| {
            if *word == self.name {
                return Ok(own);
            }
            match self.members.iter().find(|member| member.name == *word) {
                Some(member) => member.public_key(),
                None => public_key(word, "the inviter"),
            }
        };
        self.inviters.iter().map(key_of).collect()
    }

    /// The statecharts that it was given.
    pub(crate) fn palette(&self) -> Result<Palette> {
        let wrong = |file: &Path, error: &dyn std::fmt::Display| {
            Advice::wrong(
                format!("could not use the statechart {}: {error}", file.display()),
                "mend the file, or take it out of statecharts in the config file",
            )
        };
        let mut definitions = Vec::new();
        for file in &self.statecharts {
            let text = fs::read(file).map_err(|error| wrong(file, &error))?;
            let definition: Definition =
                serde_json::from_slice(&text).map_err(|error| wrong(file, &error))?;
            definitions.push(definition);
        }
        let palette = Palette::new(definitions).map_err(|error| {
            Advice::wrong(
                format!("could not use the statecharts of the config file: {error}"),
                "mend the definition, or take its file out of statecharts in the config file",
            )
        })?;
        Ok(if self.statecharts_closed { palette.closed() } else { palette })
    }

    /// What nodes are called.
    pub(crate) fn names(&self, own: NodeId) -> Result<BTreeMap<NodeId, String>> {
        let mut names = BTreeMap::from([(own, self.name.clone())]);
        for member in &self.members {
            names.insert(member.public_key()?.node_id(), member.name.clone());
        }
        Ok(names)
    }

    /// The defaults with what the file says.
    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::default();
        for (name, &number) in &self.settings {
            set(&mut settings, name, number).ok_or_else(|| {
                Advice::wrong(
                    format!("there is no setting {name:?} that could be {number}"),
                    format!("the settings are {}", setting_names().join(", ")),
                )
            })?;
        }
        Ok(settings)
    }
}

impl MemberConfig {
    fn public_key(&self) -> Result<PublicKey> {
        public_key(&self.key, &format!("the member {:?}", self.name))
    }
}

fn public_key(text: &str, whose: &str) -> Result<PublicKey> {
    PublicKey::parse(text.trim()).ok_or_else(|| {
        Advice::wrong(
            format!("the key of {whose} is not 64 hexadecimal digits: {text:?}"),
            "paste what whimbrel node key prints there",
        )
    })
}

/// Where a setting is, and how its number is meant.
enum Slot<'a> {
    Millis(&'a mut Duration),
    Size(&'a mut usize),
    Long(&'a mut u64),
    Rounds(&'a mut u32),
}

fn slots(settings: &mut Settings) -> Vec<(&'static str, Slot<'_>)> {
    use Slot::{Long, Millis, Rounds, Size};
    vec![
        ("resend_after_ms", Millis(&mut settings.resend_after)),
        ("resend_max_ms", Millis(&mut settings.resend_max)),
        ("silence_max_ms", Millis(&mut settings.silence_max)),
        ("freeze_max_ms", Millis(&mut settings.freeze_max)),
        ("session_idle_ms", Millis(&mut settings.session_idle)),
        ("search_max_ms", Millis(&mut settings.search_max)),
        ("ask_first_ms", Millis(&mut settings.ask_first)),
        ("not_ready_after_ms", Millis(&mut settings.not_ready_after)),
        ("held_max", Size(&mut settings.held_max)),
        ("unsaved_max", Size(&mut settings.unsaved_max)),
        ("append_turns_max", Size(&mut settings.append_turns_max)),
        ("outbox_max", Size(&mut settings.outbox_max)),
        ("sessions_max", Size(&mut settings.sessions_max)),
        ("answers_max", Size(&mut settings.answers_max)),
        ("round_turns_max", Size(&mut settings.round_turns_max)),
        ("round_bytes_max", Size(&mut settings.round_bytes_max)),
        ("pieces_in_flight_max", Size(&mut settings.pieces_in_flight_max)),
        ("arrivals_max", Size(&mut settings.arrivals_max)),
        ("courier_window", Size(&mut settings.courier_window)),
        ("courier_queue_max", Size(&mut settings.courier_queue_max)),
        ("snapshot_every", Long(&mut settings.snapshot_every)),
        ("cutover_lag_max", Long(&mut settings.cutover_lag_max)),
        ("rounds_max", Rounds(&mut settings.rounds_max)),
    ]
}

fn setting_names() -> Vec<&'static str> {
    slots(&mut Settings::default()).into_iter().map(|(name, _)| name).collect()
}

fn set(settings: &mut Settings, name: &str, number: u64) -> Option<()> {
    let mut slots = slots(settings);
    let (_, slot) = slots.iter_mut().find(|(known, _)| *known == name)?;
    match slot {
        Slot::Millis(slot) => **slot = Duration::from_millis(number),
        Slot::Size(slot) => **slot = usize::try_from(number).ok()?,
        Slot::Long(slot) => **slot = number,
        Slot::Rounds(slot) => **slot = u32::try_from(number).ok()?,
    }
    Some(())
}

/// The key in a file that only its owner can read.
pub(crate) fn read_key(file: &Path) -> Result<NodeKey> {
    let unreadable = |error: std::io::Error| {
        Advice::wrong(
            format!("could not read the key in {}: {error}", file.display()),
            "make one with whimbrel node init, or name the right file in the config",
        )
    };
    let mode = fs::metadata(file).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Advice::wrong(
            format!("others can read the key in {}", file.display()),
            format!("chmod 600 {}", file.display()),
        ));
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(unreadable)?);
    let seed =
        Seed::parse(&text).and_then(|seed| whimbrel::wire::unhex(seed.text()).map(Zeroizing::new));
    let seed = seed.and_then(|seed| <[u8; 32]>::try_from(seed.as_slice()).ok().map(Zeroizing::new));
    let seed = seed.ok_or_else(|| {
        Advice::wrong(
            format!("the key in {} is not 64 hexadecimal digits", file.display()),
            "put the right file there; a new key is a new node",
        )
    })?;
    Ok(NodeKey::from_seed(&seed))
}

/// A new secret of 32 bytes in a new file that only its owner can read.
pub(crate) fn write_seed(file: &Path) -> Result<Seed> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).context("the system gives no random bytes")?;
    let seed = Seed::new(&bytes);
    let mut text = Zeroizing::new(String::with_capacity(65));
    text.push_str(seed.text());
    text.push('\n');
    write_new(file, text.as_bytes(), 0o600)?;
    Ok(seed)
}

/// Writes a file that was not there.
pub(crate) fn write_new(file: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    use std::io::Write;
    let open = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    let written = open.and_then(|mut open| open.write_all(bytes).and_then(|()| open.sync_all()));
    written.map_err(|error| {
        Advice::wrong(
            format!("could not write {}: {error}", file.display()),
            "name a folder that can be written; no file is overwritten",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<NodeConfig> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join(CONFIG_FILE);
        fs::write(&file, text)?;
        NodeConfig::read(&file)
    }

    const GOOD: &str = r#"
name = "east"
data = "."
key = "node.key"
listen = "127.0.0.1:7001"
"#;

    #[test]
    fn a_config_may_be_short_and_its_paths_are_those_beside_it() {
        let config = read(GOOD).unwrap();
        assert!(config.data.is_absolute() && config.key.ends_with("node.key"));
        assert_eq!(config.settings().unwrap(), Settings::default());
    }

    #[test]
    fn settings_are_taken_and_unknown_ones_refused_by_name() {
        let text = format!("{GOOD}\n[settings]\nfreeze_max_ms = 7\nrounds_max = 3\n");
        let settings = read(&text).unwrap().settings().unwrap();
        assert_eq!(settings.freeze_max, Duration::from_millis(7));
        assert_eq!(settings.rounds_max, 3);
        let error = read(&format!("{GOOD}\n[settings]\nfrieze = 7\n")).unwrap_err();
        assert!(error.to_string().contains("frieze"), "{error}");
    }

    #[test]
    fn bad_files_say_what_is_wrong_with_them() {
        let member = |key: &str| format!("{GOOD}\n[[members]]\nname = \"west\"\nkey = \"{key}\"\n");
        let twice =
            format!("{}{}", member(&"07".repeat(32)), &member(&"07".repeat(32))[GOOD.len()..]);
        for (text, says) in [
            (String::new(), "name"),
            (GOOD.replace("7001", "port"), "line 5"),
            (format!("{GOOD}colour = 1\n"), "colour"),
            (member("c0ffee"), "west"),
            (format!("{GOOD}trust_roots = [\"c0ffee\"]\n"), "c0ffee"),
            (format!("{GOOD}open_channels = [\"*a\"]\n"), "*a"),
            (twice, "twice"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.to_string().contains(says), "{error} should say {says}");
            assert!(error.downcast_ref::<Advice>().is_some());
        }
    }

    /// A file that is cut anywhere or changed anyhow is a config that can be written and read again, or an
    /// error that says what to do.
    #[test]
    fn any_text_is_a_config_or_an_advice() {
        let member = format!("[[members]]\nname = \"wëst\"\nkey = \"{}\"\n", "07".repeat(32));
        let rest = "addresses = [\"[::1]:7002\"]\n[settings]\nfreeze_max_ms = 7\nrounds_max = 3\n";
        let more =
            "workers = 2\ntags = [\"a\"]\nmemory_bytes = 9\nhosts = true\nstatecharts = [\"o\"]\n";
        let seeds = [GOOD.to_owned(), format!("{GOOD}{more}{member}{rest}")];
        let corpus = whimbrel_fuzz::write(&seeds.map(String::into_bytes));
        let run = |input: &[u8]| {
            let Ok(text) = std::str::from_utf8(input) else { return };
            match NodeConfig::parse(text, &"node.toml") {
                Ok(config) => {
                    let written = toml::to_string(&config).unwrap();
                    let again = NodeConfig::parse(&written, &"again").unwrap();
                    assert_eq!(format!("{config:?}"), format!("{again:?}"));
                }
                Err(error) => assert!(error.downcast_ref::<Advice>().is_some(), "{error}"),
            }
        };
        let corpus = Box::leak(corpus.into_boxed_str());
        let target =
            whimbrel_fuzz::Target { name: "config", corpus, growth_max: None, every: 1, run };
        let drive = whimbrel_fuzz::Drive { seed: 1, count: 20_000 };
        let ran = drive.run(&target).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(20_000 < ran.inputs);
    }

    #[test]
    fn a_key_is_read_only_from_a_file_of_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(KEY_FILE);
        let seed = write_seed(&file).unwrap();
        let key = read_key(&file).unwrap();
        assert_eq!(Seed::new(&key.seed()), seed);
        assert!(write_seed(&file).is_err(), "a key is never overwritten");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_key(&file).unwrap_err().to_string().contains("others can read"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, "secret").unwrap();
        assert!(read_key(&file).unwrap_err().to_string().contains("64 hexadecimal"));
    }
}
