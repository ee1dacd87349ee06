//! Decides who may depend on whom.
//!
//! A crate is a promise about what it does not know; the table here is that promise. Each crate's
//! `Cargo.toml` is read as written, so an arrow is caught before it compiles. Dependencies of tests
//! are looser, because a test may look at its subject from above, but no test of a pure crate may
//! bring back the clock and the network.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::finding::Finding;
use crate::tree::Tree;

/// Below this version a peer can exhaust the memory of `quinn-proto`.
const QUINN_PROTO_MIN: (u64, u64, u64) = (0, 11, 18);

/// Crates that may carry a table of lints of their own: it repeats the workspace's, except that
/// `unsafe_code` is denied instead of forbidden, so that one named place can lift it.
const OWN_LINTS: [&str; 4] =
    ["whimbrel-store", "whimbrel-fuzz", "whimbrel-isolate", "whimbrel-guest"];

/// Who may know the engine: the crate that hides it, and the one that holds it against the engine.
const ENGINE_USERS: [&str; 2] = ["whimbrel-isolate", "whimbrel-differential"];

/// Which crates of this workspace a package may use.
enum Arrows {
    All,
    Only(&'static [&'static str]),
}

/// Which crates from elsewhere a package may use.
enum Outside {
    Any,
    Only(&'static [&'static str]),
}

struct Rule {
    package: &'static str,
    arrows: Arrows,
    outside: Outside,
    /// Forbidden even in tests.
    never: &'static [&'static str],
}

const RULES: [Rule; 22] = [
    Rule {
        package: "whimbrel-wire",
        arrows: Arrows::Only(&[]),
        outside: Outside::Only(&[
            "blake3",
            "bytes",
            "ed25519-dalek",
            "postcard",
            "serde",
            "thiserror",
            "zeroize",
        ]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-mutants",
        arrows: Arrows::Only(&[]),
        outside: Outside::Only(&[]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-daemon",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-mutants"]),
        outside: Outside::Only(&["blake3", "bytes", "imbl", "postcard", "serde", "thiserror"]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-statechart",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-daemon", "whimbrel-mutants"]),
        outside: Outside::Only(&[
            "bytes",
            "cbor4ii",
            "ciborium",
            "roxmltree",
            "serde",
            "serde_json",
            "smallvec",
            "thiserror",
        ]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-trust",
        arrows: Arrows::Only(&["whimbrel-wire"]),
        outside: Outside::Only(&["serde", "serde_json", "thiserror", "zeroize"]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-isolate",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-daemon"]),
        outside: Outside::Any,
        never: &["whimbrel-runtime", "whimbrel"],
    },
    Rule {
        package: "whimbrel-guest",
        arrows: Arrows::Only(&[]),
        outside: Outside::Only(&[]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-protocol",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-mutants"]),
        outside: Outside::Only(&["bytes", "serde", "thiserror"]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-members",
        arrows: Arrows::Only(&["whimbrel-wire"]),
        outside: Outside::Only(&["bytes", "foca", "postcard", "rand_core", "serde", "thiserror"]),
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-store",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-mutants"]),
        outside: Outside::Any,
        never: &["whimbrel-runtime", "whimbrel"],
    },
    Rule {
        package: "whimbrel-runtime",
        arrows: Arrows::Only(&[
            "whimbrel-wire",
            "whimbrel-daemon",
            "whimbrel-statechart",
            "whimbrel-isolate",
            "whimbrel-members",
            "whimbrel-protocol",
            "whimbrel-store",
            "whimbrel-trust",
        ]),
        outside: Outside::Any,
        never: &[],
    },
    Rule {
        package: "whimbrel-sim",
        arrows: Arrows::Only(&[
            "whimbrel-wire",
            "whimbrel-daemon",
            "whimbrel-statechart",
            "whimbrel-isolate",
            "whimbrel-protocol",
            "whimbrel-store",
            "whimbrel-mutants",
        ]),
        outside: Outside::Any,
        never: &["whimbrel-runtime", "whimbrel", "tokio"],
    },
    Rule {
        package: "whimbrel-trial",
        arrows: Arrows::Only(&[
            "whimbrel-wire",
            "whimbrel-daemon",
            "whimbrel-protocol",
            "whimbrel-runtime",
        ]),
        outside: Outside::Any,
        never: &["whimbrel"],
    },
    Rule {
        package: "whimbrel-model",
        arrows: Arrows::Only(&[
            "whimbrel-wire",
            "whimbrel-protocol",
            "whimbrel-store",
            "whimbrel-mutants",
        ]),
        outside: Outside::Only(&["bytes"]),
        never: &["whimbrel-runtime", "whimbrel", "whimbrel-sim", "tokio"],
    },
    Rule {
        package: "whimbrel-fuzz",
        arrows: Arrows::Only(&[
            "whimbrel-wire",
            "whimbrel-daemon",
            "whimbrel-store",
            "whimbrel-protocol",
            "whimbrel-statechart",
            "whimbrel-runtime",
            "whimbrel-sim",
            "whimbrel-trust",
        ]),
        outside: Outside::Only(&["bytes", "serde", "serde_json"]),
        never: &["whimbrel", "tokio"],
    },
    Rule { package: "whimbrel", arrows: Arrows::All, outside: Outside::Any, never: &[] },
    Rule {
        package: "whimbrel-chaos",
        arrows: Arrows::Only(&["whimbrel", "whimbrel-trial"]),
        outside: Outside::Any,
        never: &[],
    },
    Rule {
        package: "whimbrel-conformance",
        arrows: Arrows::Only(&["whimbrel-wire", "whimbrel-statechart"]),
        outside: Outside::Any,
        never: &["whimbrel-runtime", "whimbrel"],
    },
    Rule {
        package: "whimbrel-differential",
        arrows: Arrows::Only(&["whimbrel-isolate"]),
        outside: Outside::Any,
        never: &["whimbrel-runtime", "whimbrel"],
    },
    Rule { package: "whimbrel-bench", arrows: Arrows::All, outside: Outside::Any, never: &[] },
    Rule { package: "whimbrel-examples", arrows: Arrows::All, outside: Outside::Any, never: &[] },
    Rule { package: "xtask", arrows: Arrows::Only(&[]), outside: Outside::Any, never: &[] },
];

/// One dependency as a manifest states it.
#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    package: String,
    for_tests: bool,
}

/// Every arrow of the workspace that points the wrong way.
pub(crate) fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let root = read_table(tree, "Cargo.toml")?;
    let mut findings = Vec::new();
    for path in member_manifests(tree, &root)? {
        let manifest = read_table(tree, &path)?;
        findings.extend(manifest_findings(&path, &manifest, &root));
    }
    if tree.root().join("Cargo.lock").is_file() {
        findings.extend(lock_findings(&read_table(tree, "Cargo.lock")?));
    }
    Ok(findings)
}

fn read_table(tree: &Tree, path: &str) -> Result<Table> {
    let text = fs::read_to_string(tree.root().join(path))
        .with_context(|| format!("could not read {path}"))?;
    text.parse().with_context(|| format!("could not parse {path}"))
}

/// The manifests of all members; a member that ends in `/*` is a folder of members.
fn member_manifests(tree: &Tree, root: &Table) -> Result<Vec<String>> {
    let members = root
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(Value::as_array)
        .context("the root Cargo.toml has no workspace.members")?;
    let mut manifests = Vec::new();
    for member in members.iter().filter_map(Value::as_str) {
        let Some(folder) = member.strip_suffix("/*") else {
            manifests.push(format!("{member}/Cargo.toml"));
            continue;
        };
        for entry in fs::read_dir(tree.root().join(folder))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let manifest = format!("{folder}/{name}/Cargo.toml");
            if tree.root().join(&manifest).is_file() {
                manifests.push(manifest);
            }
        }
    }
    manifests.sort();
    Ok(manifests)
}

fn manifest_findings(path: &str, manifest: &Table, root: &Table) -> Vec<Finding> {
    let package = manifest.get("package").and_then(|package| package.get("name"));
    let Some(package) = package.and_then(Value::as_str) else {
        return vec![Finding::of_file(path, "the package has no name")];
    };
    let mut findings = Vec::new();
    findings.extend(lints_finding(path, package, manifest, root));
    let Some(rule) = RULES.iter().find(|rule| rule.package == package) else {
        findings.push(Finding::of_file(
            path,
            format!("{package} has no line in the table of arrows; a new crate is a decision"),
        ));
        return findings;
    };
    for dependency in dependencies(manifest, root) {
        if let Some(reason) = objection(rule, &dependency) {
            findings.push(Finding::of_file(path, reason));
        }
    }
    findings
}

/// Whether a crate has the lints of the workspace, or may and does differ in `unsafe_code` alone.
fn lints_finding(path: &str, package: &str, manifest: &Table, root: &Table) -> Option<Finding> {
    let lints = manifest.get("lints");
    let inherited = lints.and_then(|lints| lints.get("workspace"));
    if inherited.and_then(Value::as_bool) == Some(true) {
        return None;
    }
    if !OWN_LINTS.contains(&package) {
        return Some(Finding::of_file(path, "[lints] must say workspace = true"));
    }
    let mut wanted = root.get("workspace")?.get("lints")?.clone();
    let rust = wanted.get_mut("rust").and_then(Value::as_table_mut)?;
    rust.insert("unsafe_code".to_owned(), Value::String("deny".to_owned()));
    if lints == Some(&wanted) {
        return None;
    }
    let what = "[lints] must repeat the workspace's, with only unsafe_code changed to \"deny\"";
    Some(Finding::of_file(path, what))
}

/// Why this package may not have this dependency.
fn objection(rule: &Rule, dependency: &Dependency) -> Option<String> {
    let (from, to) = (rule.package, dependency.package.as_str());
    if to == "bincode" {
        return Some(format!("{from} → {to}: bincode is unmaintained; bytes are postcard's"));
    }
    if to.starts_with("wasmtime") && !ENGINE_USERS.contains(&from) {
        return Some(format!("{from} → {to}: wasmtime belongs to whimbrel-isolate alone"));
    }
    if rule.never.contains(&to) {
        return Some(format!("{from} → {to}: not even in tests"));
    }
    if dependency.for_tests {
        return None;
    }
    if is_ours(to) {
        return match rule.arrows {
            Arrows::All => None,
            Arrows::Only(allowed) if allowed.contains(&to) => None,
            Arrows::Only(_) => Some(format!("{from} → {to}: this arrow is not in the design")),
        };
    }
    match rule.outside {
        Outside::Any => None,
        Outside::Only(allowed) if allowed.contains(&to) => None,
        Outside::Only(_) => {
            Some(format!("{from} → {to}: a pure crate needs a decision for each dependency"))
        }
    }
}

fn is_ours(package: &str) -> bool {
    package == "whimbrel" || package == "xtask" || package.starts_with("whimbrel-")
}

/// All dependencies of a manifest, those for one platform too, under their real names.
fn dependencies(manifest: &Table, root: &Table) -> Vec<Dependency> {
    let shared = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(Value::as_table);
    let platforms = manifest.get("target").and_then(Value::as_table);
    let mut sections: Vec<&Table> = vec![manifest];
    sections.extend(platforms.into_iter().flat_map(Table::values).filter_map(Value::as_table));
    let mut found = Vec::new();
    for section in sections {
        let kinds =
            [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)];
        for (key, for_tests) in kinds {
            let Some(listed) = section.get(key).and_then(Value::as_table) else { continue };
            for (name, details) in listed {
                let package = real_name(name, details, shared);
                found.push(Dependency { package, for_tests });
            }
        }
    }
    found
}

/// A dependency can be renamed where it is used, or in the table that the workspace shares.
fn real_name(name: &str, details: &Value, shared: Option<&Table>) -> String {
    let here = details.get("package").and_then(Value::as_str);
    let there = shared
        .and_then(|shared| shared.get(name))
        .and_then(|details| details.get("package"))
        .and_then(Value::as_str);
    let inherited = details.get("workspace").and_then(Value::as_bool) == Some(true);
    here.or_else(|| there.filter(|_| inherited)).unwrap_or(name).to_owned()
}

/// What no dependency may bring in behind our back.
fn lock_findings(lock: &Table) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let packages = lock.get("package").and_then(Value::as_array);
    for package in packages.into_iter().flatten() {
        let name = package.get("name").and_then(Value::as_str);
        let version = package.get("version").and_then(Value::as_str);
        if let (Some(name), Some(version)) = (name, version) {
            versions.entry(name).or_default().push(version);
        }
    }
    let mut findings = Vec::new();
    if versions.contains_key("bincode") {
        findings.push(Finding::of_file("Cargo.lock", "bincode came in; 'cargo tree -i bincode'"));
    }
    for version in versions.get("quinn-proto").into_iter().flatten() {
        if parse_version(version).is_none_or(|version| version < QUINN_PROTO_MIN) {
            let (major, minor, patch) = QUINN_PROTO_MIN;
            findings.push(Finding::of_file(
                "Cargo.lock",
                format!("quinn-proto is {version}; at least {major}.{minor}.{patch} is needed"),
            ));
        }
    }
    findings
}

/// `None` for anything that is not a plain release, which is then refused.
fn parse_version(text: &str) -> Option<(u64, u64, u64)> {
    let mut parts = text.split('+').next()?.split('.').map(str::parse);
    let version = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    parts.next().is_none().then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::scratch::Scratch;

    const ROOT: &str = r#"
        [workspace.dependencies]
        whimbrel-wire = { path = "crates/wire" }
        words = { path = "crates/runtime", package = "whimbrel-runtime" }
    "#;

    fn said(package: &str, rest: &str) -> Vec<String> {
        let text = format!("[package]\nname = \"{package}\"\n{rest}\n[lints]\nworkspace = true\n");
        let found = manifest_findings("Cargo.toml", &text.parse().unwrap(), &ROOT.parse().unwrap());
        found.iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn refused(package: &str, rest: &str, reason: &str) {
        let said = said(package, rest);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains(reason), "{said:?}");
    }

    #[test]
    fn every_arrow_of_the_design_is_allowed() {
        let arrows = [
            ("whimbrel-daemon", "whimbrel-wire"),
            ("whimbrel-protocol", "whimbrel-wire"),
            ("whimbrel-store", "whimbrel-wire"),
            ("whimbrel-runtime", "whimbrel-store"),
            ("whimbrel-runtime", "whimbrel-protocol"),
            ("whimbrel-sim", "whimbrel-store"),
            ("whimbrel", "whimbrel-runtime"),
            ("whimbrel", "whimbrel-sim"),
        ];
        for (from, to) in arrows {
            let none: Vec<String> = Vec::new();
            assert_eq!(said(from, &format!("[dependencies]\n{to}.workspace = true")), none);
        }
    }

    #[test]
    fn an_arrow_against_the_design_is_refused() {
        let arrows = [
            ("whimbrel-wire", "whimbrel-daemon"),
            ("whimbrel-daemon", "whimbrel-protocol"),
            ("whimbrel-protocol", "whimbrel-daemon"),
            ("whimbrel-store", "whimbrel-protocol"),
            ("whimbrel-runtime", "whimbrel-sim"),
            ("whimbrel-statechart", "whimbrel-isolate"),
            ("xtask", "whimbrel-wire"),
        ];
        for (from, to) in arrows {
            let rest = format!("[dependencies]\n{to}.workspace = true");
            refused(from, &rest, "not in the design");
        }
        refused("whimbrel-sim", "[dependencies]\nwhimbrel-runtime = \"1\"", "not even in tests");
    }

    #[test]
    fn a_test_may_look_from_above_but_not_at_the_network() {
        assert!(said("whimbrel-store", "[dev-dependencies]\nwhimbrel-daemon = \"1\"").is_empty());
        assert!(said("whimbrel-protocol", "[dev-dependencies]\nproptest = \"1\"").is_empty());
        for to in ["whimbrel-runtime", "whimbrel", "tokio"] {
            let rest = format!("[dev-dependencies]\n{to}.workspace = true");
            refused("whimbrel-protocol", &rest, "not even in tests");
        }
    }

    #[test]
    fn a_rename_hides_nothing() {
        let here = "[dev-dependencies]\nx = { version = \"1\", package = \"whimbrel-runtime\" }";
        refused("whimbrel-protocol", here, "not even in tests");
        let there = "[dev-dependencies]\nwords.workspace = true";
        refused("whimbrel-protocol", there, "not even in tests");
        let own = "[dependencies]\nwords = \"1\"";
        refused("whimbrel-protocol", own, "whimbrel-protocol → words: a pure crate");
    }

    #[test]
    fn a_platform_or_a_build_script_is_no_way_around() {
        let platform = "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"";
        refused("whimbrel-wire", platform, "needs a decision");
        refused("whimbrel-wire", "[build-dependencies]\ncc = \"1\"", "needs a decision");
    }

    #[test]
    fn a_pure_crate_takes_only_what_is_listed() {
        assert!(said("whimbrel-wire", "[dependencies]\nblake3 = \"1\"\nserde = \"1\"").is_empty());
        assert!(said("whimbrel-daemon", "[dependencies]\nimbl = \"7\"").is_empty());
        assert!(said("whimbrel-runtime", "[dependencies]\nquinn = \"1\"").is_empty());
        refused("whimbrel-protocol", "[dependencies]\nserde_json = \"1\"", "needs a decision");
        refused("whimbrel-daemon", "[dependencies]\nrand = \"1\"", "needs a decision");
    }

    #[test]
    fn wasmtime_belongs_to_isolate_and_bincode_to_nobody() {
        assert!(said("whimbrel-isolate", "[dependencies]\nwasmtime = \"1\"").is_empty());
        let rest = "[dependencies]\nwasmtime-wasi = \"1\"";
        refused("whimbrel-runtime", rest, "belongs to whimbrel-isolate");
        refused("xtask", "[dev-dependencies]\nbincode = \"1\"", "unmaintained");
    }

    #[test]
    fn a_crate_without_a_line_or_without_lints_is_refused() {
        refused("whimbrel-extra", "", "no line in the table");
        let bare = "[package]\nname = \"xtask\"".parse().unwrap();
        let found = manifest_findings("Cargo.toml", &bare, &Table::new());
        assert_eq!(
            found,
            vec![Finding::of_file("Cargo.toml", "[lints] must say workspace = true")]
        );
    }

    #[test]
    fn own_lints_repeat_those_of_the_workspace_and_deny_what_it_forbids() {
        let root: Table =
            "[workspace.lints.rust]\nmissing_docs = \"warn\"\nunsafe_code = \"forbid\"\n\
                           [workspace.lints.clippy]\ntodo = \"warn\""
                .parse()
                .unwrap();
        let said = |package: &str, lints: &str| {
            let text = format!("[package]\nname = \"{package}\"\n{lints}");
            manifest_findings("Cargo.toml", &text.parse().unwrap(), &root).len()
        };
        let docs = "[lints.rust]\nmissing_docs = \"warn\"\n";
        let clippy = "[lints.clippy]\ntodo = \"warn\"";
        let good = format!("{docs}unsafe_code = \"deny\"\n{clippy}");
        assert_eq!(said("whimbrel-store", &good), 0);
        assert_eq!(said("whimbrel-store", "[lints]\nworkspace = true"), 0);
        assert_eq!(said("whimbrel-runtime", &good), 1, "it is not listed");
        for bad in [
            String::new(),
            format!("{docs}{clippy}"),
            format!("{docs}unsafe_code = \"forbid\"\n{clippy}"),
            format!("{docs}unsafe_code = \"allow\"\n{clippy}"),
            format!("{docs}unsafe_code = \"deny\"\n"),
            format!("{docs}unsafe_code = \"deny\"\n{clippy}\ndbg_macro = \"allow\""),
            format!("{docs}unsafe_code = \"deny\"\n[lints.clippy]\ntodo = \"allow\""),
            "[lints]\nworkspace = false".to_owned(),
        ] {
            assert_eq!(said("whimbrel-store", &bad), 1, "{bad}");
        }
    }

    #[test]
    fn the_lock_file_is_read_too() {
        let lock = |name: &str, version: &str| -> Table {
            format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"").parse().unwrap()
        };
        assert_eq!(lock_findings(&lock("quinn-proto", "0.11.18")), vec![]);
        assert_eq!(lock_findings(&lock("quinn-proto", "0.12.0")), vec![]);
        assert_eq!(lock_findings(&lock("serde", "0.0.1")), vec![]);
        for (name, version) in [
            ("quinn-proto", "0.11.9"),
            ("quinn-proto", "0.11.18-rc.1"),
            ("quinn-proto", "odd"),
            ("bincode", "2.0.0"),
        ] {
            assert_eq!(lock_findings(&lock(name, version)).len(), 1, "{name} {version}");
        }
    }

    #[test]
    fn every_member_is_asked_also_one_in_a_folder_of_members() {
        let bad = "[package]\nname = \"whimbrel-wire\"\n[dependencies]\ntokio = \"1\"\n\
                   [lints]\nworkspace = true";
        let scratch = Scratch::new(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"crates/*\", \"xtask\"]"),
            ("Cargo.lock", "[[package]]\nname = \"bincode\"\nversion = \"1.0.0\""),
            ("crates/wire/Cargo.toml", bad),
            ("crates/notes/README.md", "not a member"),
            ("xtask/Cargo.toml", "[package]\nname = \"xtask\""),
        ]);
        let found = check(&scratch.tree).unwrap();
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said[0].starts_with("crates/wire/Cargo.toml: whimbrel-wire → tokio"), "{said:?}");
        assert!(said[1].starts_with("xtask/Cargo.toml: [lints]"), "{said:?}");
        assert!(said[2].starts_with("Cargo.lock: bincode"), "{said:?}");
    }
}
