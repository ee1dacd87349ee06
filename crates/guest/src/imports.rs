//! The functions of the node, as they are imported.

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "they are functions of the node")]
mod node {
    #[link(wasm_import_module = "whimbrel")]
    unsafe extern "C" {
        pub(super) safe fn answer(at: *const u8, length: usize);
        pub(super) safe fn send(to: *const u8, at: *const u8, length: usize);
        pub(super) safe fn publish(
            name: *const u8,
            name_length: usize,
            at: *const u8,
            length: usize,
        );
        pub(super) safe fn set_timer(number: u64, at: u64);
        pub(super) safe fn cancel_timer(number: u64);
        pub(super) safe fn now() -> u64;
        pub(super) safe fn random(at: *mut u8, length: usize);
        pub(super) safe fn entity(at: *mut u8);
        pub(super) safe fn decline(at: *const u8, length: usize);
    }
}

/// Without a node they do nothing.
#[cfg(not(target_arch = "wasm32"))]
mod node {
    pub(super) fn answer(_: *const u8, _: usize) {}
    pub(super) fn send(_: *const u8, _: *const u8, _: usize) {}
    pub(super) fn publish(_: *const u8, _: usize, _: *const u8, _: usize) {}
    pub(super) fn set_timer(_: u64, _: u64) {}
    pub(super) fn cancel_timer(_: u64) {}
    pub(super) fn now() -> u64 {
        0
    }
    pub(super) fn random(_: *mut u8, _: usize) {}
    pub(super) fn entity(_: *mut u8) {}
    pub(super) fn decline(_: *const u8, _: usize) {}
}

pub(super) fn answer(payload: &[u8]) {
    node::answer(payload.as_ptr(), payload.len());
}

pub(super) fn send(to: &[u8; 32], payload: &[u8]) {
    node::send(to.as_ptr(), payload.as_ptr(), payload.len());
}

pub(super) fn publish(channel: &str, payload: &[u8]) {
    node::publish(channel.as_ptr(), channel.len(), payload.as_ptr(), payload.len());
}

pub(super) fn set_timer(number: u64, at: u64) {
    node::set_timer(number, at);
}

pub(super) fn cancel_timer(number: u64) {
    node::cancel_timer(number);
}

pub(super) fn now() -> u64 {
    node::now()
}

pub(super) fn random(bytes: &mut [u8]) {
    node::random(bytes.as_mut_ptr(), bytes.len());
}

pub(super) fn entity() -> [u8; 32] {
    let mut entity = [0; 32];
    node::entity(entity.as_mut_ptr());
    entity
}

pub(super) fn decline(reason: &str) {
    node::decline(reason.as_ptr(), reason.len());
}
