//! Decides what is shown of a process that does not go on.

use crate::nodes::{Node, Nodes};
use crate::system::{call, has};

/// Lines of one process that are shown.
const LINES_MAX: usize = 150;

/// Frames of a thread that are shown.
const FRAMES_MAX: u32 = 14;

/// Shows all nodes.
pub(crate) fn print_all(nodes: &Nodes) {
    nodes.all.iter().for_each(print);
}

/// Shows one node.
pub(crate) fn print(node: &Node) {
    println!("--- node {}: last words\n    {}", node.name, node.last_words());
    match node.process() {
        Some(process) => print_process(&node.name, process),
        None => println!("--- node {} does not run", node.name),
    }
}

/// Shows the threads of a process: with gdb where there is one, else what the system knows.
pub(crate) fn print_process(name: &str, process: u32) {
    println!("--- {name}: threads of process {process}");
    let text = if has("gdb") { by_debugger(process) } else { None };
    let text = text.unwrap_or_else(|| by_system(process));
    for line in text.lines().filter(|line| !line.starts_with("[New LWP")).take(LINES_MAX) {
        println!("    {line}");
    }
}

fn by_debugger(process: u32) -> Option<String> {
    let trace = format!("thread apply all bt {FRAMES_MAX}");
    let (id, mut command) = (process.to_string(), std::process::Command::new("timeout"));
    command.args(["30", "gdb", "-nx", "-batch", "-p", &id, "-ex", &trace]);
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn by_system(process: u32) -> String {
    let read = |task: &str, what: &str| {
        let text = std::fs::read_to_string(format!("/proc/{process}/task/{task}/{what}"));
        text.unwrap_or_default().trim().replace('\n', " < ")
    };
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut lines = vec![call(&format!("grep State /proc/{process}/status")).unwrap_or_default()];
    for task in tasks {
        let task = task.file_name().to_string_lossy().into_owned();
        let parts = ["comm", "wchan", "stack"].map(|what| read(&task, what));
        lines.push(format!("{task} {}", parts.join(" | ")));
    }
    lines.join("\n")
}
