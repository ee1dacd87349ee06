//! debug
mod stage;
use stage::*;
use whimbrel_runtime::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debug() {
    for _ in 0..20 {
        let nodes = nodes(3, true).await;
        let [a, b, c] = &nodes[..] else { panic!() };
        let daemon = a.runtime.spawn("kv", identity(7), DaemonHostConfig::default()).await.unwrap();
        let entity = daemon.entity_id();
        let client = c.runtime.client();
        let mut diaries: Vec<Diary> = nodes.iter().map(Diary::of).collect();
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let sender = tokio::spawn(async move {
            while !*stopped.borrow_and_update() {
                let acks: Vec<_> =
                    (0..32).map(|_| client.send(entity, text("add counter 1"))).collect();
                for ack in acks {
                    ack.await.unwrap();
                }
            }
        });
        for (i, (o, t)) in [(a, b), (a, c), (a, a), (b, b), (c, a)].into_iter().enumerate() {
            let r = o.migrate(entity, t, MigrationOpts::default()).await;
            if r.is_err() {
                for (n, d) in diaries.iter_mut().enumerate() {
                    d.so_far();
                    println!("--- node {n} {}", nodes[n].id());
                    for e in &d.seen {
                        if !matches!(e.event, whimbrel_protocol::Event::Progressed { .. }) {
                            println!(
                                "{:?} {:?}",
                                e.at.duration_since(std::time::UNIX_EPOCH).unwrap(),
                                e.event
                            );
                        }
                    }
                }
                panic!("move {i}: {r:?}");
            }
        }
        stop.send_replace(true);
        sender.await.unwrap();
    }
}
