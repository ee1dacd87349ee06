//! Holds the page about the gate against the code.

use whimbrel_statechart::evolution::Rule;

const PAGE: &str = include_str!("../../../../docs/gate.md");

#[test]
fn the_page_has_a_row_for_each_rule_with_what_it_asks_for_and_no_other() {
    let rows: Vec<Vec<&str>> = PAGE
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|line| line.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let written: Vec<(&str, &str, &str)> = rows
        .iter()
        .filter(|row| row.len() == 3 && Rule::of(row[0]).is_some())
        .map(|row| (row[0], row[1], row[2]))
        .collect();
    let rules: Vec<(&str, &str, &str)> =
        Rule::ALL.iter().map(|rule| (rule.id(), rule.verdict().word(), rule.about())).collect();
    assert_eq!(written, rules);
}
