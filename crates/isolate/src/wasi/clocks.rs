//! Clocks and waiting.
//!
//! Both clocks follow the time of the daemon, which stands still within a turn; each reading is at
//! least a nanosecond later than the one before, so a program never sees time stand still or go back,
//! wherever it lives.

use super::calls::{Call, End, Ended, Wait};
use super::errno::Errno;
use super::state::{Open, STREAM_BYTES_MAX, Wasi};

const REALTIME: u32 = 0;
/// The others count from when the program began: monotonic time and the time of the processor.
const CLOCKS: u32 = 4;

const SUBSCRIPTION_BYTES: u32 = 48;
const EVENT_BYTES: u32 = 32;

/// The most that one call can wait for.
const SUBSCRIPTIONS_MAX: u32 = 4096;

/// The time at which a call is made, and never one that was told before.
fn tell(wasi: &mut Wasi, now: u64) -> u64 {
    wasi.told = now.max(wasi.told + 1);
    wasi.told
}

fn read(wasi: &mut Wasi, clock: u32, now: u64) -> Result<u64, Errno> {
    let now = tell(wasi, now);
    match clock {
        REALTIME => Ok(now),
        1..CLOCKS => Ok(now.saturating_sub(wasi.began.unwrap_or(now))),
        _ => Err(Errno::Inval),
    }
}

pub(super) fn clock_res_get(_: &mut Wasi, call: &mut Call<'_>) -> Ended {
    if call.u32(0) >= CLOCKS {
        return Err(Errno::Inval);
    }
    let at = call.u32(1);
    call.memory.put_u64(at, 1)?;
    Ok(End::Ok)
}

pub(super) fn clock_time_get(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let at = call.u32(2);
    let _ = call.memory.bytes(at, 8)?;
    let time = read(wasi, call.u32(0), call.now)?;
    call.memory.put_u64(at, time)?;
    Ok(End::Ok)
}

pub(super) fn sched_yield(_: &mut Wasi, _: &mut Call<'_>) -> Ended {
    Ok(End::Ok)
}

/// One thing that is waited for.
enum Subject {
    /// The time in nanoseconds since the Unix epoch.
    Time(u64),
    Readable(u32),
    Writable(u32),
}

/// When what the subscription `index` names is due: as noted when the call was first made.
fn due(wasi: &mut Wasi, call: &Call<'_>, (index, at): (u32, u32)) -> Result<u64, Errno> {
    if let Some(note) = call.note {
        let start = index as usize * 8;
        let noted = note.get(start..start + 8).and_then(|it| it.first_chunk());
        return noted.map(|it| u64::from_le_bytes(*it)).ok_or(Errno::Inval);
    }
    let clock = call.memory.get_u32(at + 16)?;
    let timeout = call.memory.get_u64(at + 24)?;
    let is_absolute = call.memory.get_u16(at + 40)? & 1 != 0;
    if clock >= CLOCKS {
        return Err(Errno::Inval);
    }
    Ok(match (is_absolute, clock) {
        (false, _) => call.now.max(wasi.told).saturating_add(timeout),
        (true, REALTIME) => timeout,
        (true, _) => wasi.began.unwrap_or(call.now).saturating_add(timeout),
    })
}

pub(super) fn poll_oneoff(wasi: &mut Wasi, call: &mut Call<'_>) -> Ended {
    let (from, to, count, result) = (call.u32(0), call.u32(1), call.u32(2), call.u32(3));
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval);
    }
    let _ = call.memory.bytes(from, count * SUBSCRIPTION_BYTES)?;
    let _ = call.memory.bytes(to, count * EVENT_BYTES)?;
    let _ = call.memory.bytes(result, 4)?;
    let (mut events, mut wait, mut note) = (Vec::new(), Wait::default(), Vec::new());
    for index in 0..count {
        let at = from + index * SUBSCRIPTION_BYTES;
        let user = call.memory.get_u64(at)?;
        let subject = match call.memory.get_u8(at + 8)? {
            0 => Subject::Time(due(wasi, call, (index, at))?),
            1 => Subject::Readable(call.memory.get_u32(at + 16)?),
            2 => Subject::Writable(call.memory.get_u32(at + 16)?),
            _ => return Err(Errno::Inval),
        };
        let noted = if let Subject::Time(time) = subject { time } else { 0 };
        note.extend_from_slice(&noted.to_le_bytes());
        let (kind, happened) = happened(wasi, call.now, &subject, &mut wait);
        if let Some((errno, bytes)) = happened {
            events.push((user, errno, kind, bytes));
        }
    }
    if events.is_empty() {
        return Ok(End::Wait(wait, note));
    }
    for (index, (user, errno, kind, bytes)) in events.iter().enumerate() {
        let mut event = [0; EVENT_BYTES as usize];
        event[..8].copy_from_slice(&user.to_le_bytes());
        event[8..10].copy_from_slice(&errno.to_le_bytes());
        event[10] = *kind;
        event[16..24].copy_from_slice(&bytes.to_le_bytes());
        call.memory.put(to + index as u32 * EVENT_BYTES, &event)?;
    }
    call.memory.put_u32(result, events.len() as u32)?;
    Ok(End::Ok)
}

/// The kind of an event, and if it happened its number and how many bytes there are. Otherwise adds
/// what it waits for.
fn happened(wasi: &Wasi, now: u64, subject: &Subject, wait: &mut Wait) -> (u8, Option<(u16, u64)>) {
    let bad = Some((Errno::BadF as u16, 0));
    match subject {
        Subject::Time(due) if *due <= now.max(wasi.told) => (0, Some((0, 0))),
        Subject::Time(due) => {
            wait.until = Some(wait.until.map_or(*due, |until| until.min(*due)));
            (0, None)
        }
        Subject::Readable(number) => match wasi.descriptors.get(number).map(|it| &it.open) {
            Some(Open::Stdin) if wasi.stdin.bytes.is_empty() && !wasi.stdin.ended => {
                wait.input = true;
                (1, None)
            }
            Some(Open::Stdin) => (1, Some((0, wasi.stdin.bytes.len() as u64))),
            Some(Open::File { inode, offset, .. }) => {
                let length = wasi.files.file(*inode).map_or(0, |bytes| bytes.len() as u64);
                (1, Some((0, length.saturating_sub(*offset))))
            }
            Some(Open::Stdout | Open::Stderr | Open::Folder { .. }) | None => (1, bad),
        },
        Subject::Writable(number) => match wasi.descriptors.get(number).map(|it| &it.open) {
            Some(open @ (Open::Stdout | Open::Stderr)) => {
                let is_error = *open == Open::Stderr;
                let stream = if is_error { &wasi.stderr } else { &wasi.stdout };
                if wasi.waits && stream.room() == 0 {
                    wait.room = true;
                    return (2, None);
                }
                (2, Some((0, STREAM_BYTES_MAX as u64)))
            }
            Some(Open::File { .. }) => (2, Some((0, STREAM_BYTES_MAX as u64))),
            Some(Open::Stdin | Open::Folder { .. }) | None => (2, bad),
        },
    }
}
