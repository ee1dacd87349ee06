//! Decides which files belong to the repository, and reads them.
//!
//! Files that git knows, and new ones that it does not ignore, belong. Without git (an unpacked
//! archive) every file does, save the folders that builds make.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// Folders that are never part of the source, for trees without git.
const NOT_SOURCE: [&str; 2] = [".git", "node_modules"];

/// The file by which a folder says that it can be made again; cargo leaves one.
const MADE_AGAIN: &str = "CACHEDIR.TAG";

/// The repository on disk.
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// The tree that this chore was built from.
    pub(crate) fn open() -> Result<Self> {
        let manifest_dir = std::env::var("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest_dir).parent().context("xtask has no parent folder")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The folder that holds the root `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where builds go, and with them the marks of finished long steps.
    pub(crate) fn target_dir(&self) -> PathBuf {
        match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.root.join("target"),
        }
    }

    /// Every file of the repository, with `/` between names, in order.
    pub(crate) fn files(&self) -> Result<BTreeSet<String>> {
        let listing = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output();
        let listed = match listing {
            Ok(output) if output.status.success() => String::from_utf8(output.stdout)
                .context("a file name is not UTF-8")?
                .split('\0')
                .filter(|path| !path.is_empty())
                .map(str::to_owned)
                .collect(),
            Ok(_) | Err(_) => {
                let mut files = BTreeSet::new();
                walk(&self.root, "", &mut files)?;
                files
            }
        };
        // A file that was deleted but not yet committed is still listed.
        Ok(listed.into_iter().filter(|path| self.root.join(path).is_file()).collect())
    }

    /// The text of a file; `None` when it is not text.
    pub(crate) fn text(&self, path: &str) -> Result<Option<String>> {
        let bytes =
            fs::read(self.root.join(path)).with_context(|| format!("could not read {path}"))?;
        Ok(String::from_utf8(bytes).ok())
    }

    /// Replaces the text of a file.
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.root.join(path), text).with_context(|| format!("could not write {path}"))
    }
}

fn walk(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("could not list {prefix}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.insert(path);
        } else if kind.is_dir()
            && !NOT_SOURCE.contains(&name.as_str())
            && !entry.path().join(MADE_AGAIN).exists()
        {
            walk(&entry.path(), &path, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod scratch {
    //! A small tree for a test, without git, gone when the test ends.

    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    static COUNT: AtomicUsize = AtomicUsize::new(0);

    /// Owns the folder.
    pub(crate) struct Scratch {
        pub(crate) tree: Tree,
    }

    impl Scratch {
        /// A folder with these files.
        pub(crate) fn new(files: &[(&str, &str)]) -> Self {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("xtask-{}-{count}", std::process::id());
            let tree = Tree { root: std::env::temp_dir().join(name) };
            for (path, text) in files {
                let path = tree.root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self { tree }
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            // A folder left behind in the temporary folder hurts nobody.
            drop(fs::remove_dir_all(&self.tree.root));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;

    #[test]
    fn without_git_all_files_belong_but_not_what_builds_made() {
        let scratch = Scratch::new(&[
            ("README.md", ""),
            ("crates/a/src/target/mod.rs", ""),
            ("target/CACHEDIR.TAG", ""),
            ("target/debug/a.rs", ""),
            (".git/HEAD", "not a repository"),
        ]);
        let files: Vec<String> = scratch.tree.files().unwrap().into_iter().collect();
        assert_eq!(files, vec!["README.md", "crates/a/src/target/mod.rs"]);
    }
}
