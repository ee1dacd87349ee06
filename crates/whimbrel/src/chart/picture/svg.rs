//! Decides what a picture looks like.

use std::fmt::Write as _;

use whimbrel_statechart::StateKind;

use super::layout::{Area, HEAD, LINE, PAD, Placed, Spot, Way, place};
use super::model::{Arrow, Box_, Panel, Shade};

const TITLE: f64 = 26.0;
const GAP: f64 = 28.0;

const STYLE: &str = "
text { font: 12px 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #1f2430 }
text.title { font: bold 15px 'DejaVu Sans', Helvetica, Arial, sans-serif }
text.id { font-weight: bold }
text.line { fill: #4a5164; font-size: 11px }
text.on { fill: #2b3553; font-size: 11px }
rect.paper { fill: #ffffff }
rect.panel { fill: #fbfbfd; stroke: #c9cedb }
rect.state { fill: #ffffff; stroke: #5b657d; stroke-width: 1.2 }
rect.holds { fill: #f4f6fb }
rect.region { stroke-dasharray: 5 4 }
rect.ends { fill: none; stroke: #5b657d }
rect.halo { fill: #fbfbfd; fill-opacity: 0.95 }
path.way { fill: none; stroke: #5b657d; stroke-width: 1.2 }
circle.dot { fill: #1f2430 }
circle.port { fill: #5b657d }
.active rect.state { fill: #ffedb8; stroke: #b26a00; stroke-width: 2.4 }
.active rect.holds { fill: #fff9e8 }
.added rect.state { fill: #dff5e1; stroke: #1f7a33; stroke-width: 2 }
.added path.way { stroke: #1f7a33; stroke-width: 2 }
.added text.on { fill: #1f7a33 }
.removed rect.state { fill: #fde0e0; stroke: #b3261e; stroke-width: 2 }
.removed path.way { stroke: #b3261e; stroke-width: 2; stroke-dasharray: 6 3 }
.removed text.on { fill: #b3261e }
.changed rect.state { fill: #dfeafd; stroke: #1d4f9e; stroke-width: 2 }
.changed path.way { stroke: #1d4f9e; stroke-width: 2 }
.changed text.on { fill: #1d4f9e }
";

/// Columns of charts, side by side.
pub(super) fn page(columns: &[Vec<Panel>]) -> String {
    let mut body = String::new();
    let (mut x, mut height) = (GAP, 0.0_f64);
    for column in columns {
        let (mut y, mut width) = (GAP, 0.0_f64);
        for panel in column {
            let placed = place(panel);
            let (w, h) = draw(&mut body, panel, &placed, (x, y));
            y += h + GAP;
            width = width.max(w);
        }
        x += width + GAP;
        height = height.max(y);
    }
    if columns.len() > 1 {
        legend(&mut body, height);
        height += 30.0;
    }
    let mut page = String::new();
    let _ = write!(
        page,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{x:.0}" height="{height:.0}" viewBox="0 0 {x:.0} {height:.0}">
<style>{STYLE}</style>
<defs>
<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 1 L10 5 L0 9 z" fill="context-stroke"/></marker>
</defs>
<rect class="paper" width="100%" height="100%"/>
{body}</svg>
"##
    );
    page
}

fn legend(body: &mut String, y: f64) {
    let mut x = GAP;
    for (class, word) in [("added", "added"), ("removed", "removed"), ("changed", "changed")] {
        let _ = writeln!(
            body,
            r#"<g class="{class}"><rect class="state" x="{x:.0}" y="{y:.0}" width="22" height="14" rx="4"/><text x="{:.0}" y="{:.0}">{word}</text></g>"#,
            x + 30.0,
            y + 11.0,
        );
        x += 130.0;
    }
}

fn draw(body: &mut String, panel: &Panel, placed: &Placed, at: Spot) -> Spot {
    let root = &panel.root;
    let notes = (root.lines.len() + panel.notes.len()) as f64 * LINE;
    let lines = root.lines.iter().chain(&panel.notes);
    let widest = lines.map(|line| super::layout::width_of(line)).fold(0.0, f64::max);
    let title = panel.title.chars().count() as f64 * 9.5;
    let width = placed.size.0.max(widest + 2.0 * PAD).max(title + 2.0 * PAD);
    let top = TITLE + notes + 8.0;
    let height = placed.size.1 + top;
    let _ = writeln!(body, r#"<g transform="translate({:.1} {:.1})">"#, at.0, at.1);
    let _ =
        writeln!(body, r#"<rect class="panel" width="{width:.1}" height="{height:.1}" rx="8"/>"#);
    let _ =
        writeln!(body, r#"<text class="title" x="{PAD}" y="21">{}</text>"#, escaped(&panel.title));
    let mut y = TITLE + LINE - 2.0;
    for line in root.lines.iter().chain(&panel.notes) {
        let _ =
            writeln!(body, r#"<text class="line" x="{PAD}" y="{y:.1}">{}</text>"#, escaped(line));
        y += LINE;
    }
    let _ = writeln!(body, r#"<g transform="translate(0 {top:.1})">"#);
    for state in &root.inner {
        draw_state(body, state, placed, false);
    }
    for (dot, way) in &placed.begins {
        let _ =
            writeln!(body, r#"<circle class="dot" cx="{:.1}" cy="{:.1}" r="5"/>"#, dot.0, dot.1);
        let _ = writeln!(body, r#"<path class="way" d="{}" marker-end="url(#head)"/>"#, curve(way));
    }
    for (x, y) in &placed.ports {
        let _ = writeln!(body, r#"<circle class="port" cx="{x:.1}" cy="{y:.1}" r="3"/>"#);
    }
    // What is written lies above all lines.
    for (number, way) in &placed.arrows {
        let arrow = &panel.arrows[*number];
        let (class, path) = (class(arrow.shade), curve(&way.points));
        let _ = writeln!(
            body,
            r#"<g class="{class}"><path class="way" d="{path}" marker-end="url(#head)"/></g>"#
        );
    }
    for (number, way) in &placed.arrows {
        label(body, &panel.arrows[*number], way);
    }
    body.push_str("</g></g>\n");
    (width, height)
}

fn label(body: &mut String, arrow: &Arrow, way: &Way) {
    let (Some((x, y)), false) = (way.label, arrow.lines.is_empty()) else { return };
    let widest = arrow.lines.iter().map(|line| super::layout::width_of(line)).fold(0.0, f64::max);
    let height = arrow.lines.len() as f64 * LINE;
    let _ = writeln!(
        body,
        r#"<g class="{}"><title>{}</title><rect class="halo" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}"/>"#,
        class(arrow.shade),
        escaped(&arrow.whole),
        x + 3.0,
        y,
        widest + 4.0,
        height,
    );
    let mut y = y + LINE - 4.0;
    for line in &arrow.lines {
        let x = x + 5.0;
        let _ =
            writeln!(body, r#"<text class="on" x="{x:.1}" y="{y:.1}">{}</text>"#, escaped(line));
        y += LINE;
    }
    body.push_str("</g>\n");
}

fn draw_state(body: &mut String, state: &Box_, placed: &Placed, region: bool) {
    let Some(area) = placed.boxes.get(&state.id) else { return };
    let class = class(state.shade);
    let _ = writeln!(
        body,
        r#"<g class="{class}"><title>{}</title>"#,
        escaped(&format!("{}\n{}", state.id, state.whole))
    );
    match state.kind {
        StateKind::History | StateKind::DeepHistory => history(body, state, area),
        StateKind::State | StateKind::Parallel | StateKind::Final => {
            plain(body, state, area, region);
        }
    }
    body.push_str("</g>\n");
    for inner in &state.inner {
        draw_state(body, inner, placed, state.kind == StateKind::Parallel);
    }
}

fn history(body: &mut String, state: &Box_, area: &Area) {
    let word = if state.kind == StateKind::DeepHistory { "H*" } else { "H" };
    let (x, y) = (area.x + area.w / 2.0, area.y + area.h / 2.0);
    let _ = writeln!(
        body,
        r#"<rect class="state" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="13"/><text class="id" x="{:.1}" y="{:.1}" text-anchor="middle">{word}</text>"#,
        area.x,
        area.y,
        area.w,
        area.h,
        x,
        y + 4.0,
    );
}

fn plain(body: &mut String, state: &Box_, area: &Area, region: bool) {
    let Area { x, y, w, h } = *area;
    let holds = if state.inner.is_empty() { "" } else { " holds" };
    let dashed = if region { " region" } else { "" };
    let round = if state.kind == StateKind::Final { 16.0 } else { 8.0 };
    let _ = writeln!(
        body,
        r#"<rect class="state{holds}{dashed}" x="{x:.1}" y="{y:.1}" width="{w:.1}" height="{h:.1}" rx="{round}"/>"#
    );
    if state.kind == StateKind::Final {
        let _ = writeln!(
            body,
            r#"<rect class="ends" x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="13"/>"#,
            x + 3.0,
            y + 3.0,
            w - 6.0,
            h - 6.0,
        );
    }
    let head = y + HEAD - 5.0;
    let _ = writeln!(
        body,
        r#"<text class="id" x="{:.1}" y="{head:.1}">{}</text>"#,
        x + PAD,
        escaped(&state.id)
    );
    for (place, line) in state.lines.iter().enumerate() {
        let y = head + (place as f64 + 1.0) * LINE;
        let x = x + PAD;
        let _ =
            writeln!(body, r#"<text class="line" x="{x:.1}" y="{y:.1}">{}</text>"#, escaped(line));
    }
}

const fn class(shade: Shade) -> &'static str {
    match shade {
        Shade::Plain => "plain",
        Shade::Active => "active",
        Shade::Added => "added",
        Shade::Removed => "removed",
        Shade::Changed => "changed",
    }
}

/// A line through points, round at its corners.
fn curve(points: &[Spot]) -> String {
    let mut path = String::new();
    let Some(first) = points.first() else { return path };
    let _ = write!(path, "M{:.1} {:.1}", first.0, first.1);
    for (place, point) in points.iter().enumerate().skip(1) {
        let Some(next) = points.get(place + 1) else {
            let _ = write!(path, " L{:.1} {:.1}", point.0, point.1);
            break;
        };
        let middle = |one: &Spot, two: &Spot| ((one.0 + two.0) / 2.0, (one.1 + two.1) / 2.0);
        let before = middle(&points[place - 1], point);
        let after = middle(point, next);
        let _ = write!(
            path,
            " L{:.1} {:.1} Q{:.1} {:.1} {:.1} {:.1}",
            before.0, before.1, point.0, point.1, after.0, after.1
        );
    }
    path
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            // Letters that XML has not.
            '\u{0}'..='\u{8}'
            | '\u{b}'
            | '\u{c}'
            | '\u{e}'..='\u{1f}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                escaped.push('\u{fffd}');
            }
            other => escaped.push(other),
        }
    }
    escaped
}
