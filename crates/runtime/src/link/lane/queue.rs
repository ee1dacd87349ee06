//! Decides what waits to be sent to one peer on one lane, and when there is no more room.
//!
//! # Invariants
//!
//! * Q1 (bounded): frames ≤ `queue_frames_max`, and bytes ≤ `queue_bytes_max` unless a single frame
//!   is all there is.
//! * Q2 (in order): frames leave in the order they came.
//!
//! # Limits
//!
//! * Both bounds are the lane's [`LaneLimits`]; beyond them the sender is answered
//!   [`SendError::Full`] and nothing is kept.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::link::error::SendError;
use crate::link::limits::LaneLimits;

/// Frames on their way to one peer on one lane.
#[derive(Debug)]
pub(in crate::link) struct Queue {
    limits: LaneLimits,
    waiting: Mutex<Waiting>,
    filled: Notify,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
}

impl Queue {
    pub(in crate::link) fn new(limits: LaneLimits) -> Self {
        Self { limits, waiting: Mutex::default(), filled: Notify::new(), emptied: Notify::new() }
    }

    /// Adds a frame at the end.
    pub(in crate::link) fn push(&self, frame: Bytes) -> Result<(), SendError> {
        if frame.len() > self.limits.frame_bytes_max as usize {
            return Err(SendError::TooLong {
                bytes: frame.len(),
                allowed: self.limits.frame_bytes_max,
            });
        }
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(SendError::UnknownPeer);
        }
        let first = waiting.frames.is_empty();
        let bytes = waiting.bytes.saturating_add(frame.len());
        let full = waiting.frames.len() >= self.limits.queue_frames_max
            || (bytes > self.limits.queue_bytes_max && !first);
        if full {
            return Err(SendError::Full);
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Waits until a frame waits.
    pub(in crate::link) async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// Waits for frames, then moves the first ones to `batch`: at least one, and no more once they
    /// come to `bytes_max`. Nothing is lost when the wait is given up.
    pub(in crate::link) async fn take(&self, batch: &mut Vec<Bytes>, bytes_max: usize) {
        while !self.take_waiting(batch, bytes_max) {
            self.filled.notified().await;
        }
    }

    /// Waits until at least half of the queue is free, or it takes no more.
    pub(in crate::link) async fn room(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.has_room(&self.waiting()) {
                return;
            }
            emptied.await;
        }
    }

    /// How many frames wait, and how many bytes they come to.
    pub(in crate::link) fn length(&self) -> (usize, usize) {
        let waiting = self.waiting();
        (waiting.frames.len(), waiting.bytes)
    }

    /// Drops what waits and takes no more.
    pub(in crate::link) fn end(&self) {
        *self.waiting() = Waiting { ended: true, ..Waiting::default() };
        self.emptied.notify_waiters();
    }

    fn take_waiting(&self, batch: &mut Vec<Bytes>, bytes_max: usize) -> bool {
        let mut waiting = self.waiting();
        let mut taken = 0;
        while taken < bytes_max || batch.is_empty() {
            let Some(frame) = waiting.frames.pop_front() else { break };
            waiting.bytes -= frame.len();
            // The four bytes of its length count too, so that empty frames cannot fill a batch for ever.
            taken += frame.len() + 4;
            batch.push(frame);
        }
        let has_room = self.has_room(&waiting);
        drop(waiting);
        if has_room {
            self.emptied.notify_waiters();
        }
        !batch.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.waiting().frames.is_empty()
    }

    fn has_room(&self, waiting: &Waiting) -> bool {
        waiting.bytes <= self.limits.queue_bytes_max / 2
            && waiting.frames.len() <= self.limits.queue_frames_max / 2
    }

    /// Nothing panics while it holds the lock, and what it guards is whole between any two statements.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> Queue {
        Queue::new(LaneLimits { frame_bytes_max: 10, queue_frames_max: 3, queue_bytes_max: 12 })
    }

    fn frame(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[test]
    fn a_queue_is_full_at_its_number_of_frames_and_at_its_bytes() {
        let by_number = queue();
        for _ in 0..3 {
            assert!(by_number.push(frame(1)).is_ok());
        }
        assert_eq!(by_number.push(frame(1)), Err(SendError::Full));
        let by_bytes = queue();
        assert_eq!(by_bytes.push(frame(10)), Ok(()));
        assert_eq!(by_bytes.push(frame(3)), Err(SendError::Full));
        assert_eq!(by_bytes.push(frame(2)), Ok(()));
        assert_eq!(by_bytes.length(), (2, 12));
    }

    #[tokio::test]
    async fn who_waits_for_room_is_woken_when_half_is_free_or_the_queue_ends() {
        let queue = std::sync::Arc::new(queue());
        for _ in 0..2 {
            queue.push(frame(1)).unwrap();
        }
        let wait = |queue: &std::sync::Arc<Queue>| {
            let queue = std::sync::Arc::clone(queue);
            tokio::spawn(async move { queue.room().await })
        };
        let waiting = wait(&queue);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        queue.take(&mut Vec::new(), 1).await;
        waiting.await.unwrap();
        for _ in 0..2 {
            queue.push(frame(1)).unwrap();
        }
        let waiting = wait(&queue);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        queue.end();
        waiting.await.unwrap();
    }

    #[test]
    fn a_frame_beyond_the_lanes_limit_is_not_taken() {
        let queue = queue();
        assert_eq!(queue.push(frame(11)), Err(SendError::TooLong { bytes: 11, allowed: 10 }));
        assert!(queue.is_empty());
    }

    #[test]
    fn an_ended_queue_is_empty_and_takes_nothing() {
        let queue = queue();
        queue.push(frame(1)).unwrap();
        queue.end();
        assert!(queue.is_empty());
        assert_eq!(queue.push(frame(1)), Err(SendError::UnknownPeer));
    }

    #[tokio::test]
    async fn frames_leave_in_order_and_a_batch_ends_at_its_bytes() {
        let queue = queue();
        for length in [4, 3, 2] {
            queue.push(frame(length)).unwrap();
        }
        let mut batch = Vec::new();
        queue.take(&mut batch, 9).await;
        assert_eq!(batch.iter().map(Bytes::len).collect::<Vec<_>>(), [4, 3]);
        batch.clear();
        queue.take(&mut batch, 9).await;
        assert_eq!(batch.iter().map(Bytes::len).collect::<Vec<_>>(), [2]);
        assert_eq!(queue.length(), (0, 0));
    }
}
