//! Decides how a program is run from a terminal: its output here, its work wherever it lives.
//!
//! Everything that is said to the program and heard of it goes through its daemon, by numbers of bytes:
//! each byte of input is taken once and each byte of output is printed once, whatever moves or is
//! started again meanwhile.
//!
//! # Limits
//!
//! * [`AWAY_MAX`]: a node that does not answer for longer ends the command, not the program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use whimbrel::isolate::daemon::{Beginnings, Founding, Isolate, Life};
use whimbrel::runtime::admin::words::{Ask, Done, Payload};
use whimbrel::runtime::admin::{AdminClient, AdminClientError};

use crate::ask;
use crate::failure::{Advice, UNSUCCESSFUL};
use crate::output::complain;
use crate::words::{BirthWords, IsolateWords, Place};

/// How long the node may be away.
const AWAY_MAX: Duration = Duration::from_secs(120);

/// How long to rest between two questions: at first, and at most.
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// Input that is sent at a time.
const INPUT_BYTES: usize = 16 << 10;

/// What is run.
#[derive(Args, Debug)]
pub(crate) struct RunWords {
    /// The module: WebAssembly with WASI preview 1, binary or text.
    module: PathBuf,
    /// What the program is given.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// Where it begins, if not at the node that is asked.
    #[arg(long, value_name = "NODE")]
    on: Option<String>,
    /// A variable of its environment.
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// A file that it finds, here and there.
    #[arg(long, value_name = "FILE[:PATH]")]
    file: Vec<String>,
    /// From which its randomness grows: 64 hexadecimal digits. Without it, its own.
    #[arg(long, value_name = "DIGITS")]
    seed: Option<String>,
    /// Begin it and go: whimbrel attach shows it.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    isolate: IsolateWords,
    #[command(flatten)]
    birth: BirthWords,
}

fn beginnings(words: &RunWords) -> Result<Beginnings> {
    let name = words.module.file_name().unwrap_or(words.module.as_os_str());
    let mut args = vec![name.to_string_lossy().into_owned()];
    args.extend(words.args.iter().cloned());
    let env = words.env.iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Advice::wrong(format!("{pair:?} is no variable"), "write NAME=VALUE")),
    });
    let files = words.file.iter().map(|pair| {
        let (here, there) = match pair.rsplit_once(':') {
            Some((here, there)) => (Path::new(here), there.to_owned()),
            None => {
                let here = Path::new(pair);
                let name = here.file_name().unwrap_or(here.as_os_str());
                (here, name.to_string_lossy().into_owned())
            }
        };
        Ok((there, ask::given(here)?))
    });
    let seed = words.seed.as_deref().map(|digits| {
        let bytes = whimbrel::wire::unhex(digits);
        bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
            Advice::wrong(format!("{digits:?} is no seed"), "give 64 hexadecimal digits")
        })
    });
    Ok(Beginnings {
        args,
        env: env.collect::<Result<_>>()?,
        files: files.collect::<Result<_>>()?,
        files_bytes_max: 0,
        seed: seed.transpose()?,
        waits: true,
    })
}

/// Runs a program and shows it.
pub(crate) async fn run(place: &Place, words: RunWords) -> Result<ExitCode> {
    let founding = Founding {
        life: Some(Life::Program),
        beginnings: beginnings(&words)?,
        ..ask::founding(&words.isolate)
    };
    let module = (&founding, words.module.as_path());
    let daemon = ask::bear(place, Isolate::NAME, module, words.birth).await?;
    let short: String = daemon.chars().take(8).collect();
    complain(&format!("{daemon} runs; whimbrel attach {short} shows it again"));
    if let Some(to) = words.on {
        let daemon = daemon.clone();
        let migrate = Ask::Migrate {
            daemon,
            to: Some(to),
            transport_identity: true,
            freeze_and_copy: false,
            watch: false,
            terms: None,
        };
        ask::put(place, migrate).await?;
    }
    if words.detach {
        crate::output::say(&daemon);
        return Ok(ExitCode::SUCCESS);
    }
    attach(place, daemon).await
}

/// Shows a program, and gives it what is typed.
pub(crate) async fn attach(place: &Place, daemon: String) -> Result<ExitCode> {
    let typed = type_in(Line::new(place, daemon.clone()));
    let shown = show(Line::new(place, daemon));
    tokio::pin!(typed);
    tokio::pin!(shown);
    tokio::select! {
        shown = &mut shown => shown,
        typed = &mut typed => {
            typed?;
            shown.await
        }
    }
}

/// A program that can be asked although its node goes away in between.
struct Line {
    place: Place,
    daemon: String,
    client: Option<AdminClient>,
}

/// What a program answered.
struct Answered {
    outputs: Vec<Vec<u8>>,
    declined: Option<String>,
}

impl Line {
    fn new(place: &Place, daemon: String) -> Self {
        Self { place: place.clone(), daemon, client: None }
    }

    /// Says something that may be said twice.
    async fn say(&mut self, payload: &[u8]) -> Result<Answered> {
        let begun = Instant::now();
        loop {
            let error = match self.try_say(payload).await {
                Ok(Done::Answered { outputs, declined }) => {
                    let outputs = outputs.iter().filter_map(Payload::bytes);
                    let outputs = outputs.map(Vec::from).collect();
                    return Ok(Answered { outputs, declined });
                }
                Ok(_) => bail!("the node answered something else"),
                Err(error) => error,
            };
            let away = matches!(
                error.downcast_ref::<AdminClientError>(),
                Some(AdminClientError::Closed | AdminClientError::Connect { .. })
            );
            if !away || begun.elapsed() > AWAY_MAX {
                return Err(error);
            }
            self.client = None;
            tokio::time::sleep(REST.1).await;
        }
    }

    async fn try_say(&mut self, payload: &[u8]) -> Result<Done> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(ask::connect(&self.place).await?),
        };
        let (daemon, payload) = (self.daemon.clone(), Payload::of(payload));
        Ok(client.ask(Ask::Send { daemon, payload }).await?)
    }
}

/// Where a program is, as it says it.
#[derive(Debug, Deserialize)]
pub(crate) struct Standing {
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) code: u32,
    #[serde(default)]
    pub(crate) why: String,
    pub(crate) out: [u64; 2],
    pub(crate) err: [u64; 2],
}

/// Prints what the program puts out until it is over.
async fn show(mut line: Line) -> Result<ExitCode> {
    let (mut out, mut err, mut rest) = (0, 0, REST.0);
    loop {
        let answered = line.say(format!("take {out} {err}").as_bytes()).await?;
        if let Some(why) = answered.declined {
            return Err(Advice::failed(why, "attach to a program; ask another isolate"));
        }
        let mut outputs = answered.outputs.into_iter();
        let standing = outputs.next().context("the program said nothing")?;
        let standing: Standing =
            serde_json::from_slice(&standing).context("the program said something else")?;
        for (range, next, is_error) in
            [(standing.out, &mut out, false), (standing.err, &mut err, true)]
        {
            if range[0] > *next {
                complain(&format!("{} bytes of output were dropped", range[0] - *next));
            }
            let bytes = if range[1] > 0 { outputs.next().unwrap_or_default() } else { Vec::new() };
            print(&bytes, is_error)?;
            *next = range[0] + bytes.len() as u64;
        }
        if standing.out[1] + standing.err[1] > 0 {
            rest = REST.0;
            continue;
        }
        match standing.state.as_str() {
            "exited" => return Ok(ExitCode::from(u8::try_from(standing.code).unwrap_or(u8::MAX))),
            "trapped" => {
                complain(&format!("the program trapped: {}", standing.why));
                return Ok(ExitCode::from(UNSUCCESSFUL));
            }
            _ => {}
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(REST.1);
    }
}

fn print(bytes: &[u8], is_error: bool) -> Result<()> {
    let written = if is_error {
        let mut to = std::io::stderr().lock();
        to.write_all(bytes).and_then(|()| to.flush())
    } else {
        let mut to = std::io::stdout().lock();
        to.write_all(bytes).and_then(|()| to.flush())
    };
    written.context("could not print the output")
}

/// Gives the program what is typed, by numbers of bytes.
async fn type_in(mut line: Line) -> Result<()> {
    let (mut stdin, mut buffer, mut at) = (tokio::io::stdin(), vec![0; INPUT_BYTES], None);
    loop {
        let count = stdin.read(&mut buffer).await.context("could not read the input")?;
        if count == 0 {
            drop(line.say(b"end").await?);
            return Ok(());
        }
        let mut first = match at {
            Some(at) => at,
            None => line.say(b"fed").await?.outputs.first().map_or(0, |digits| number(digits)),
        };
        let head = |first: u64| format!("feed {first} ").into_bytes();
        while let Some(why) = line.say(&[&head(first), &buffer[..count]].concat()).await?.declined {
            if !why.contains("again later") {
                return Ok(());
            }
            tokio::time::sleep(REST.1).await;
        }
        first += count as u64;
        at = Some(first);
    }
}

fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}
