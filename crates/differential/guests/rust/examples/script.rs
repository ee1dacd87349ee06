//! An interpreter of a language that others wrote, with a script.

const SCRIPT: &str = r"
    fn collatz(n) { let steps = 0; while n != 1 { n = if n % 2 == 0 { n / 2 } else { 3 * n + 1 }; steps += 1; } steps }
    let best = 0;
    let list = [];
    for i in 1..count { let s = collatz(i); if s > best { best = s; list.push(i); } }
    best * 1000 + list.len()
";

/// What the script says for numbers up to this.
#[unsafe(no_mangle)]
pub extern "C" fn run(n: i32) -> i64 {
    let engine = rhai::Engine::new();
    let mut scope = rhai::Scope::new();
    scope.push("count", rhai::INT::from(n));
    engine.eval_with_scope::<rhai::INT>(&mut scope, SCRIPT).unwrap_or(-1)
}
