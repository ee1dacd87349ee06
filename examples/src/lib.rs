//! Examples: nodes and daemons of one's own. Each is a program in `src/bin`:
//! `cargo run -p whimbrel-examples --bin own_daemon`.
