//! A daemon of your own on two nodes of your own: it counts whom it greets, wherever it moves.
use anyhow::Result;
use bytes::Bytes;
use std::{net::SocketAddr, path::Path};
use whimbrel::*;

#[derive(Default)]
struct Greeter(u64);
type Outputs = Result<Vec<Bytes>, ProcessError>;

impl MeshDaemon for Greeter {
    fn name(&self) -> &str {
        "greeter"
    }
    fn process(&mut self, _: &mut Context<'_>, event: &CausalEvent) -> Outputs {
        self.0 += 1;
        let name = String::from_utf8_lossy(&event.payload);
        Ok(vec![format!("hello {name}, you are number {}", self.0).into()])
    }
    fn snapshot(&self) -> Option<Bytes> {
        Some(Bytes::copy_from_slice(&self.0.to_le_bytes()))
    }
    fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let state = state.try_into().map_err(|_| RestoreError::declined("not eight bytes"))?;
        self.0 = u64::from_le_bytes(state);
        Ok(())
    }
}

/// A node with its data in a folder. A real one has a secret key: `whimbrel node init` makes one.
async fn node(seed: u8, data: &Path) -> Result<DaemonRuntime> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = MeshConfig::new(NodeKey::from_seed(&[seed; 32]), listen);
    config.data = Some(data.join(seed.to_string()));
    let runtime = DaemonRuntime::new(Mesh::open(config).await?);
    runtime.register_factory("greeter", || Box::new(Greeter::default()))?;
    runtime.start().await?;
    Ok(runtime)
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<()> {
    let data = tempfile::tempdir()?;
    let (east, west) = (node(1, data.path()).await?, node(2, data.path()).await?);
    for (here, there) in [(&east, west.mesh()), (&west, east.mesh())] {
        let addresses = vec![there.local_address()];
        here.mesh().members().insert(Member { key: there.public_key(), addresses });
    }
    let who = Identity::from_seed(&[3; 32]);
    let greeter = east.spawn("greeter", who, DaemonHostConfig::default()).await?.entity_id();
    for (name, to) in [("Ada", &west), ("Grace", &east), ("Barbara", &west)] {
        let answer = east.send(greeter, name.into()).await?;
        println!("{}", String::from_utf8_lossy(&answer.outputs[0].payload));
        east.migrate(greeter, to.mesh().node_id(), Default::default()).await?.wait().await?;
    }
    Ok(tokio::try_join!(east.shutdown(), west.shutdown()).map(drop)?)
}
