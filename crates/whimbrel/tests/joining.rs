//! A node that joins, takes a daemon that fits it, and leaves, by the command alone.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod nodes;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};

use nodes::{Nodes, wait_until};

/// What the config of the first node says of the mesh.
const MESH: &str = "mesh = \"0123456789abcdef0123456789abcdef\"\ninviters = [\"a\"]\n";

#[test]
fn a_node_joins_takes_daemons_and_leaves_by_words_alone() {
    let mut nodes = Nodes::start(1);
    let refused = nodes.ask(0, &["invite"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.complaint.contains("mesh ="), "{refused:?}");
    nodes.end(0);
    let config = nodes.data(0).join("node.toml");
    fs::OpenOptions::new().append(true).open(config).unwrap().write_all(MESH.as_bytes()).unwrap();
    nodes.run(0);
    nodes.wait_until_ready(0);

    let invitation = nodes.must(0, &["invite"]);
    let invitation = invitation.trim();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = socket.local_addr().unwrap();
    drop(socket);
    nodes.add("b", listen);
    let refused = nodes.join(1, &invitation[..invitation.len() - 2]);
    assert_ne!(refused, 0, "{}", nodes.log(1));
    nodes.run_joining(1, invitation);
    nodes.wait_until_ready(1);
    let sees = |node: usize, other: &str| {
        let list = nodes.must(node, &["nodes"]);
        list.lines().any(|line| line.contains(&format!(" {other} ")) && line.contains(" alive "))
    };
    wait_until("both see each other", || sees(0, "b") && sees(1, "a"));

    // Where it fits is known once the other has said what it offers.
    nodes.must(0, &["spawn", "kv", "--name", "store"]);
    nodes.must(0, &["ask", "store", "put", "a", "1"]);
    wait_until("it moves where it fits", || {
        let said = nodes.ask(0, &["migrate", "store"]);
        said.code == 0 && said.complaint.contains("to  b:") && said.complaint.contains("not a:")
    });
    assert_eq!(nodes.must(0, &["ask", "store", "get", "a"]), "1\n");
    assert!(nodes.must(0, &["forks", "store"]).contains("never taken back"));

    // It starts again without an invitation, and goes.
    nodes.end(1);
    nodes.run(1);
    nodes.wait_until_ready(1);
    // Once it has heard what the other one offers, it can leave.
    wait_until("it leaves", || nodes.ask(1, &["leave"]).code == 0);
    assert_eq!(nodes.must(0, &["ask", "store", "get", "a"]), "1\n");
    wait_until("it is forgotten", || !nodes.must(0, &["nodes"]).contains(" b "));
    let last = nodes.end(1);
    assert!(last.contains("ended; 0 daemons are left on the disk"), "{last}");
}
