//! Decides where boxes and arrows go.

use std::collections::BTreeMap;

use dagre::graph::{Graph, GraphOptions};
use dagre::layout::types::LabelPos;
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, layout};
use whimbrel_statechart::StateKind;

use super::model::{Arrow, Box_, Panel};

/// Heights and widths, in pixels.
pub(super) const LINE: f64 = 15.0;
pub(super) const HEAD: f64 = 22.0;
pub(super) const PAD: f64 = 14.0;
const LETTER: f64 = 6.6;
const DOT: f64 = 12.0;
const ROUND: f64 = 26.0;

/// What is where, from the upper left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Area {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

/// A point.
pub(super) type Spot = (f64, f64);

/// A chart with a place for everything.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) size: Spot,
    /// Boxes by the ids of states, and where lines and what they hold begin.
    pub(super) boxes: BTreeMap<String, Area>,
    /// The points of an arrow, by number.
    pub(super) arrows: BTreeMap<usize, Way>,
    /// Where a chart or state begins: a dot, and the way from it.
    pub(super) begins: Vec<(Spot, Vec<Spot>)>,
    /// Where an arrow leaves the edge of a state inwards, or comes to it from the inside.
    pub(super) ports: Vec<Spot>,
}

/// The way of an arrow, and the upper left corner of what is written on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Way {
    pub(super) points: Vec<Spot>,
    pub(super) label: Option<Spot>,
}

pub(super) fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * LETTER
}

pub(super) fn place(panel: &Panel) -> Placed {
    let mut parents = BTreeMap::new();
    family(&panel.root, &mut parents);
    let mut levels: BTreeMap<String, Vec<Inner<'_>>> = BTreeMap::new();
    for (number, arrow) in panel.arrows.iter().enumerate() {
        if !parents.contains_key(&*arrow.to) {
            continue;
        }
        let (level, inner) = inner(&parents, &panel.root.id, number, arrow);
        levels.entry(level).or_default().push(inner);
    }
    let layout = Layout { levels, parents };
    let (size, mut placed) = layout.inside(&panel.root);
    placed.size = size;
    layout.lead_on(panel, &mut placed);
    placed
}

/// The parents of all states.
fn family<'a>(of: &'a Box_, parents: &mut BTreeMap<&'a str, &'a str>) {
    for inner in &of.inner {
        parents.insert(&inner.id, &of.id);
        family(inner, parents);
    }
}

/// An arrow within one state: between what stands in it, or its edge (none).
struct Inner<'a> {
    number: usize,
    from: Option<String>,
    to: Option<String>,
    arrow: &'a Arrow,
}

/// The states around `state`, from itself to the root.
fn outwards<'a>(parents: &BTreeMap<&'a str, &'a str>, state: &'a str) -> Vec<&'a str> {
    let mut all = vec![state];
    let mut next = state;
    while let Some(parent) = parents.get(next) {
        all.push(parent);
        next = parent;
    }
    all
}

/// In which state an arrow is drawn, and between which of its states.
fn inner<'a>(
    parents: &BTreeMap<&str, &str>,
    root: &str,
    number: usize,
    arrow: &'a Arrow,
) -> (String, Inner<'a>) {
    let (from, to) = (outwards(parents, &arrow.from), outwards(parents, &arrow.to));
    let end = |place: Option<usize>, way: &[&str]| {
        place.and_then(|place| place.checked_sub(1)).map(|place| way[place].to_owned())
    };
    if arrow.from == arrow.to {
        let level = from.get(1).map_or(root, |parent| parent).to_owned();
        let own = Some(arrow.from.clone());
        return (level, Inner { number, from: own.clone(), to: own, arrow });
    }
    let common = from.iter().find(|state| to.contains(state)).map_or(root, |state| state);
    let place = |way: &[&str]| way.iter().position(|state| *state == common);
    let (first, last) = (end(place(&from), &from), end(place(&to), &to));
    (common.to_owned(), Inner { number, from: first, to: last, arrow })
}

/// What is in a state, with its size.
type Parts<'a> = BTreeMap<&'a str, (f64, f64, Placed)>;

/// Between which nodes an arrow lies, and its name there.
type Ends = BTreeMap<usize, (String, String, String)>;

fn edge(width: f64, height: f64) -> EdgeLabel {
    EdgeLabel { width, height, labelpos: LabelPos::Center, ..EdgeLabel::default() }
}

struct Layout<'a> {
    levels: BTreeMap<String, Vec<Inner<'a>>>,
    parents: BTreeMap<&'a str, &'a str>,
}

impl Layout<'_> {
    /// Places a state with all that is in it; the upper left corner is where it is.
    fn state(&self, state: &Box_) -> (Spot, Placed) {
        if state.kind.is_history() {
            return ((ROUND, ROUND), Placed::default());
        }
        let lines = state.lines.iter().map(|line| width_of(line));
        let text = lines.fold(width_of(&state.id) + 8.0, f64::max) + 2.0 * PAD;
        let head = HEAD + state.lines.len() as f64 * LINE + 6.0;
        if state.inner.is_empty() {
            return ((text.max(60.0), head.max(34.0)), Placed::default());
        }
        let ((w, h), mut placed) = self.inside(state);
        let w = w.max(text);
        placed.shift(0.0, head);
        ((w, h + head), placed)
    }

    /// Places what is in a state.
    fn inside(&self, of: &Box_) -> (Spot, Placed) {
        let mut graph: Graph<NodeLabel, EdgeLabel> =
            Graph::with_options(GraphOptions { directed: true, multigraph: true, compound: false });
        let node = |w: f64, h: f64| NodeLabel { width: w, height: h, ..NodeLabel::default() };
        let mut parts = BTreeMap::new();
        for inner in &of.inner {
            let ((w, h), part) = self.state(inner);
            graph.set_node(inner.id.clone(), Some(node(w, h)));
            parts.insert(&*inner.id, (w, h, part));
        }
        let begins = of.kind == StateKind::State && !of.inner.is_empty();
        if begins {
            graph.set_node("(begin)".to_owned(), Some(node(DOT, DOT)));
            for target in self.begins_at(of) {
                graph.set_edge("(begin)", &*target, Some(edge(0.0, 0.0)), Some("begin"));
            }
        }
        let none = Vec::new();
        let arrows = self.levels.get(&of.id).unwrap_or(&none);
        let mut ends = BTreeMap::new();
        for inner in arrows {
            let port = format!("(port {})", inner.number);
            let end = |state: &Option<String>| state.clone().unwrap_or_else(|| port.clone());
            let (from, to) = (end(&inner.from), end(&inner.to));
            if inner.from.is_none() || inner.to.is_none() {
                graph.set_node(port.clone(), Some(node(DOT / 2.0, DOT / 2.0)));
            }
            let widest = inner.arrow.lines.iter().map(|line| width_of(line)).fold(0.0, f64::max);
            let height = inner.arrow.lines.len() as f64 * LINE;
            let name = inner.number.to_string();
            let label = edge(if widest > 0.0 { widest + 10.0 } else { 0.0 }, height);
            graph.set_edge(&*from, &*to, Some(label), Some(&*name));
            ends.insert(inner.number, (from, to, name));
        }
        let options = LayoutOptions {
            nodesep: 34.0,
            edgesep: 18.0,
            ranksep: 30.0,
            marginx: PAD,
            marginy: PAD,
            ..LayoutOptions::default()
        };
        layout(&mut graph, Some(options));
        self.read(of, &graph, parts, ends)
    }

    /// Reads where everything in a state came to lie.
    fn read(
        &self,
        of: &Box_,
        graph: &Graph<NodeLabel, EdgeLabel>,
        parts: Parts<'_>,
        ends: Ends,
    ) -> (Spot, Placed) {
        let mut placed = Placed::default();
        let mut size = (0.0_f64, 0.0_f64);
        for (id, (w, h, mut part)) in parts {
            let found = graph.node(id);
            let at = |found: Option<f64>| found.unwrap_or_default();
            let (x, y) = found.map_or((0.0, 0.0), |found| (at(found.x), at(found.y)));
            let area = Area { x: x - w / 2.0, y: y - h / 2.0, w, h };
            part.shift(area.x, area.y);
            placed.take(part);
            placed.boxes.insert(id.to_owned(), area);
            size = (size.0.max(area.x + w), size.1.max(area.y + h));
        }
        if let Some(dot) = graph.node("(begin)") {
            let dot = (dot.x.unwrap_or_default(), dot.y.unwrap_or_default());
            let ways = self.begins_at(of).into_iter().filter_map(|target| {
                let edge = graph.edge("(begin)", &target, Some("begin"))?;
                Some((dot, edge.points.iter().map(|point| (point.x, point.y)).collect()))
            });
            placed.begins.extend(ways);
        }
        for (number, (from, to, name)) in ends {
            let Some(edge) = graph.edge(&from, &to, Some(&name)) else { continue };
            let points: Vec<Spot> = edge.points.iter().map(|point| (point.x, point.y)).collect();
            let label =
                edge.x.zip(edge.y).map(|(x, y)| (x - edge.width / 2.0, y - edge.height / 2.0));
            for (x, y) in &points {
                size = (size.0.max(*x), size.1.max(*y));
            }
            if let Some((x, y)) = label {
                size = (size.0.max(x + edge.width), size.1.max(y + edge.height));
            }
            for port in [&from, &to].into_iter().filter(|end| end.starts_with("(port")) {
                if let Some(node) = graph.node(port) {
                    placed.ports.push((node.x.unwrap_or_default(), node.y.unwrap_or_default()));
                }
            }
            placed.arrows.insert(number, Way { points, label });
        }
        ((size.0 + PAD, size.1 + PAD), placed)
    }

    /// The states in `of` at which, or in which, it begins.
    fn begins_at(&self, of: &Box_) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for target in &of.initial {
            let way = outwards(&self.parents, target);
            let child = way.iter().find(|state| self.parents.get(**state) == Some(&&*of.id));
            all.extend(child.map(|child| (*child).to_owned()));
        }
        if all.is_empty() {
            let first = of.inner.iter().find(|inner| !inner.kind.is_history());
            all.extend(first.map(|first| first.id.clone()));
        }
        all.dedup();
        all
    }

    /// An arrow that ends at the edge of a state around its own goes on to that.
    fn lead_on(&self, panel: &Panel, placed: &mut Placed) {
        let boxes = placed.boxes.clone();
        for (number, way) in &mut placed.arrows {
            let arrow = &panel.arrows[*number];
            if arrow.from == arrow.to {
                continue;
            }
            let contains = |outer: &str, inner: &str| {
                outer != inner && outwards(&self.parents, inner).contains(&outer)
            };
            if !contains(&arrow.from, &arrow.to)
                && let (Some(area), Some(next)) =
                    (boxes.get(&arrow.from), way.points.first().copied())
                && !on_edge(area, next)
            {
                way.points.insert(0, edge_towards(area, next));
            }
            if !contains(&arrow.to, &arrow.from)
                && let (Some(area), Some(last)) = (boxes.get(&arrow.to), way.points.last().copied())
                && !on_edge(area, last)
            {
                way.points.push(edge_towards(area, last));
            }
        }
    }
}

fn on_edge(area: &Area, (x, y): Spot) -> bool {
    let (right, below) = (area.x + area.w, area.y + area.h);
    let near = |one: f64, two: f64| (one - two).abs() < 1.5;
    let across = x > area.x - 1.5 && x < right + 1.5;
    let along = y > area.y - 1.5 && y < below + 1.5;
    across && (near(y, area.y) || near(y, below)) || along && (near(x, area.x) || near(x, right))
}

/// Where the line from the middle of an area to a point meets its edge.
fn edge_towards(area: &Area, (x, y): Spot) -> Spot {
    let (cx, cy) = (area.x + area.w / 2.0, area.y + area.h / 2.0);
    let (dx, dy) = (x - cx, y - cy);
    let over = |d: f64, half: f64| if d == 0.0 { f64::INFINITY } else { half / d.abs() };
    let scale = over(dx, area.w / 2.0).min(over(dy, area.h / 2.0)).min(1.0);
    (cx + dx * scale, cy + dy * scale)
}

impl Placed {
    fn shift(&mut self, dx: f64, dy: f64) {
        let moved = |spot: &mut Spot| *spot = (spot.0 + dx, spot.1 + dy);
        for area in self.boxes.values_mut() {
            (area.x, area.y) = (area.x + dx, area.y + dy);
        }
        for way in self.arrows.values_mut() {
            way.points.iter_mut().chain(&mut way.label).for_each(moved);
        }
        for (dot, way) in &mut self.begins {
            moved(dot);
            way.iter_mut().for_each(moved);
        }
        self.ports.iter_mut().for_each(moved);
    }

    fn take(&mut self, other: Self) {
        self.boxes.extend(other.boxes);
        self.arrows.extend(other.arrows);
        self.begins.extend(other.begins);
        self.ports.extend(other.ports);
    }
}
