//! Decides how the relays are run: all in one process, which lives where all nodes can reach it.
//!
//! ```text
//! in   [{"front":…,"back":…,"to":…,"seed":…},…]          first: the ways
//! out  ["10.77.2.1:7000",…]                               where each is dialled
//! in   [[place,[loss,delay_us,jitter_us],[…]],…]           the weather there and back; fair elsewhere
//! out  dropped                                             datagrams lost since the last answer
//! ```

use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use whimbrel_trial::relay::{Relay, Tally, Way, Weather};

/// How long the relays may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Where a relay stands.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct RelayWay {
    pub(crate) front: SocketAddr,
    pub(crate) back: IpAddr,
    pub(crate) to: SocketAddr,
    pub(crate) seed: u64,
}

/// Loss, and delay and jitter in microseconds.
type WeatherLine = (f64, u64, u64);

/// The process of the relays.
pub(crate) struct Relays {
    /// Where each is dialled.
    pub(crate) fronts: Vec<SocketAddr>,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    // Killed when this is dropped.
    _process: Child,
}

impl Relays {
    /// Starts the process in this namespace.
    pub(crate) async fn start(space: Option<String>, ways: &[RelayWay]) -> Result<Self> {
        let program = std::env::current_exe().context("could not find this program")?;
        let mut command = match space {
            Some(space) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &space]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.arg("relays").stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("could not start a process")?;
        let stdin = process.stdin.take().context("no input")?;
        let stdout = process.stdout.take().context("no output")?;
        let answers = BufReader::new(stdout).lines();
        let mut relays = Self { fronts: Vec::new(), stdin, answers, _process: process };
        let line = relays.ask(&serde_json::to_string(ways)?).await?;
        relays.fronts = serde_json::from_str(&line).context("the relays answered nonsense")?;
        Ok(relays)
    }

    /// Sets the weather, fair where none is given. How many datagrams were lost since the last time.
    pub(crate) async fn set(&mut self, weathers: &[(usize, Weather, Weather)]) -> Result<u64> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let line = |weather: &Weather| -> WeatherLine {
            (weather.loss, micros(weather.delay), micros(weather.jitter))
        };
        let lines: Vec<_> =
            weathers.iter().map(|(at, there, back)| (at, line(there), line(back))).collect();
        let answer = self.ask(&serde_json::to_string(&lines)?).await?;
        answer.trim().parse().context("the relays answered nonsense")
    }

    async fn ask(&mut self, line: &str) -> Result<String> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(ANSWER_MAX, self.answers.next_line()).await;
        answer.context("the relays do not answer")??.context("the relays ended")
    }
}

/// The process: until its input ends.
pub(crate) fn run() -> Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let ways: Vec<RelayWay> = serde_json::from_str(&lines.next().context("no ways")??)?;
    let tally = Arc::new(Tally::default());
    let start = |way: &RelayWay| {
        let RelayWay { front, back, to, seed } = *way;
        Relay::start(Way { front, back, to, seed }, &tally)
    };
    let relays: Vec<Relay> = ways.iter().map(start).collect::<Result<_>>()?;
    let fronts: Vec<SocketAddr> = relays.iter().map(Relay::address).collect();
    say(&serde_json::to_string(&fronts)?)?;
    let mut before = 0;
    for line in lines {
        let set: Vec<(usize, WeatherLine, WeatherLine)> = serde_json::from_str(&line?)?;
        for (at, relay) in relays.iter().enumerate() {
            let found = set.iter().find(|(place, ..)| *place == at);
            let (there, back) = found.map_or_else(Default::default, |(_, there, back)| {
                (weather(*there), weather(*back))
            });
            relay.set(there, back);
        }
        let dropped = tally.dropped.load(Ordering::Relaxed);
        say(&(dropped - before).to_string())?;
        before = dropped;
    }
    Ok(())
}

const fn weather((loss, delay, jitter): WeatherLine) -> Weather {
    Weather { loss, delay: Duration::from_micros(delay), jitter: Duration::from_micros(jitter) }
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}
