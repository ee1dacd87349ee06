//! Builds the programs that are measured, from the sources beside this crate.
//!
//! Rust programs are built by cargo for `wasm32-unknown-unknown`, C programs by clang. What cannot be
//! built here is said, and not measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Where a program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Rust,
    C,
    /// C, with the sources of Lua and a C library.
    Lua,
}

/// The programs and what they are called with, so that a run takes some milliseconds.
const GUESTS: [(&str, Source, i32); 16] = [
    ("fib", Source::Rust, 27),
    ("matmul", Source::Rust, 160),
    ("sieve", Source::Rust, 500_000),
    ("nbody", Source::Rust, 40_000),
    ("mix", Source::Rust, 8_000),
    ("sort", Source::Rust, 60_000),
    ("machine", Source::Rust, 80_000),
    ("json", Source::Rust, 60),
    ("deflate", Source::Rust, 4),
    ("pattern", Source::Rust, 400),
    ("script", Source::Rust, 150),
    ("mandelbrot", Source::C, 160),
    ("levenshtein", Source::C, 1_500),
    ("trees", Source::C, 12),
    ("words", Source::C, 200_000),
    ("lua", Source::Lua, 4_000),
];

/// A program to be measured.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) argument: i32,
    pub(crate) bytes: Vec<u8>,
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

/// All programs that can be built here, and why others cannot.
pub(crate) fn build(folder: &Path) -> Result<(Vec<Guest>, Vec<String>)> {
    fs::create_dir_all(folder).context("could not make the folder of the guests")?;
    let rust = build_rust(folder);
    let mut guests = Vec::new();
    let mut missing = Vec::new();
    for (name, source, argument) in GUESTS {
        let built = match source {
            Source::Rust => match &rust {
                Ok(built) => Ok(built.join(format!("{name}.wasm"))),
                Err(error) => Err(format!("{error:#}")),
            },
            Source::C => build_c(name, folder).map_err(|error| format!("{error:#}")),
            Source::Lua => build_lua(folder).map_err(|error| format!("{error:#}")),
        };
        match built {
            Ok(path) => guests.push(Guest { name, argument, bytes: fs::read(path)? }),
            Err(error) => missing.push(format!("{name}: {error}")),
        }
    }
    Ok((guests, missing))
}

fn build_rust(folder: &Path) -> Result<PathBuf> {
    let target = folder.join("rust");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words = "build --quiet --release --examples --target wasm32-unknown-unknown --target-dir";
    let status = Command::new(cargo)
        .current_dir(sources().join("rust"))
        .args(words.split(' '))
        .arg(&target)
        .status()
        .context("could not start cargo")?;
    ensure!(status.success(), "cargo could not build for wasm32-unknown-unknown");
    Ok(target.join("wasm32-unknown-unknown/release/examples"))
}

fn build_c(name: &str, folder: &Path) -> Result<PathBuf> {
    let built = folder.join(format!("{name}.wasm"));
    let words = "--target=wasm32 -O3 -nostdlib -mbulk-memory -Wl,--no-entry -o";
    let status = Command::new("clang")
        .args(words.split(' '))
        .arg(&built)
        .arg(sources().join("c").join(format!("{name}.c")))
        .status()
        .context("could not start clang")?;
    ensure!(status.success(), "clang could not build for wasm32");
    Ok(built)
}

/// Lua's own files, without those that reach the system.
const LUA: &str = "lapi lauxlib lbaselib lcode lctype ldebug ldo ldump lfunc lgc llex lmem lobject \
                   lopcodes lparser lstate lstring lstrlib ltable ltablib ltm lundump lvm lzio";

/// Where cargo keeps the sources of Lua.
fn lua_sources() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let told = Command::new(cargo)
        .current_dir(sources().join("rust"))
        .args(["metadata", "--format-version", "1"])
        .output()
        .context("could not start cargo")?;
    let told = String::from_utf8_lossy(&told.stdout);
    let mut manifests = told.split("\"manifest_path\":\"").filter_map(|it| it.split('"').next());
    let manifest = manifests.find(|it| it.contains("/lua-src-"));
    let manifest = Path::new(manifest.context("the sources of Lua are not there")?);
    Ok(manifest.with_file_name("lua-5.4.8"))
}

fn build_lua(folder: &Path) -> Result<PathBuf> {
    let built = folder.join("lua.wasm");
    let lua = lua_sources()?;
    let words = "--target=wasm32-wasi --sysroot=/usr -O2 -mbulk-memory -ftls-model=local-exec \
                 -nostartfiles -Wl,--no-entry -Wl,-s -D_WASI_EMULATED_SIGNAL \
                 -DLUAI_THROW(L,c)=abort() -DLUAI_TRY(L,c,a)={a} -Dluai_jmpbuf=int -o";
    let status = Command::new("clang")
        .args(words.split_whitespace())
        .arg(&built)
        .arg("-I")
        .arg(sources().join("c/shim"))
        .arg("-I")
        .arg(&lua)
        .arg(sources().join("c/lua.c"))
        .args(LUA.split_whitespace().map(|name| lua.join(format!("{name}.c"))))
        .status()
        .context("could not start clang")?;
    ensure!(status.success(), "clang could not build for wasm32-wasi");
    Ok(built)
}
