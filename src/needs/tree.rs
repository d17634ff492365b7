//! A closure as a dependency tree.
//!
//! modules.dep names every module that another needs, directly or not. The tree shows direct
//! edges: those that no other dependency explains (the transitive reduction). What is needed in
//! another way is shown where it is asked for, and marked.

use crate::needs::closure::Edge;
use crate::needs::{Closure, Need};
use core::mem::take;

/// What is known of a module. What is marked for another module is marked with its position + 1, to
/// need no clearing.
#[derive(Default)]
struct TreeNode {
    /// Where its name is among all of them.
    rank: u32,
    /// How many dependencies it has.
    count: u32,
    /// Whether its line names all that the lines of its dependencies name, and so on down: as depmod
    /// writes them. Known of those that were looked at.
    is_transitive: bool,
    /// Of which module it is a dependency.
    listed: u32,
    /// And is explained by another dependency.
    explained: u32,
    /// And its own dependencies have been marked with those of another.
    covered: u32,
    /// What it needs directly, sorted by name.
    direct: &'static [Edge],
    is_shown: bool,
}

/// Draws trees of one closure into a text.
pub struct Drawing<'c> {
    closure: &'c Closure,
    /// For each module of the closure.
    nodes: Vec<TreeNode>,
    /// The modules, sorted by name.
    order: Vec<u32>,
    /// Room for modules or edges that are to be sorted.
    sorted: Vec<u64>,
}

impl<'c> Drawing<'c> {
    /// Finds the direct edges of a complete closure.
    pub fn new(closure: &'c Closure) -> Self {
        let mut drawing = Drawing::unexplained(closure);
        // Those that need least first, so that what a module needs is known when it comes.
        for position in drawing.by_count() {
            drawing.explain(position_of(position));
            drawing.choose(position_of(position));
        }
        drawing
    }

    fn unexplained(closure: &'c Closure) -> Self {
        let mut nodes = Vec::with_capacity(closure.modules().len());
        for position in 0..closure.modules().len() {
            nodes.push(TreeNode {
                count: dependencies(closure, position).count() as u32,
                ..TreeNode::default()
            });
        }
        let order = closure.by_name();
        for (rank, &position) in order.iter().enumerate() {
            nodes[position as usize].rank = rank as u32;
        }
        Drawing {
            closure,
            nodes,
            order,
            sorted: Vec::new(),
        }
    }

    /// All positions, ranked by their dependencies, those with the fewest first.
    fn by_count(&self) -> Vec<u64> {
        let mut order = Vec::with_capacity(self.nodes.len());
        for (position, node) in self.nodes.iter().enumerate() {
            order.push(ranked(node.count, position));
        }
        order.sort_unstable();
        order
    }

    fn is_explained(&self, dependency: usize, position: usize) -> bool {
        self.nodes[dependency].explained == position as u32 + 1
    }

    /// Marks what the dependencies of a module explain: a dependency of one of them is explained by
    /// that one, unless it needs that one in turn: in a cycle both edges stay rather than none.
    fn explain(&mut self, position: usize) {
        let mark = position as u32 + 1;
        let mut own = take(&mut self.sorted);
        own.clear();
        for one in dependencies(self.closure, position) {
            let node = &mut self.nodes[one];
            node.listed = mark;
            // A module needs more than what it needs does, so that most are covered when they come.
            own.push(ranked(!node.count, one));
        }
        own.sort_unstable();
        self.nodes[position].listed = mark;
        let mut is_transitive = true;
        for &one in &own {
            let one = position_of(one);
            if self.nodes[one].covered == mark {
                continue;
            }
            let covers = self.nodes[one].is_transitive;
            is_transitive &= covers;
            for further in dependencies(self.closure, one) {
                let is_cycle = self.needs(further, one);
                let node = &mut self.nodes[further];
                is_transitive &= node.listed == mark;
                if !is_cycle {
                    node.explained = mark;
                }
                if covers {
                    node.covered = mark;
                }
            }
        }
        self.nodes[position].is_transitive = is_transitive;
        self.sorted = own;
    }

    /// Whether a module's line names another. Where lines are transitive, one with fewer names cannot.
    fn needs(&self, position: usize, other: usize) -> bool {
        let (this, that) = (&self.nodes[position], &self.nodes[other]);
        let is_less = this.is_transitive && that.is_transitive && this.count < that.count;
        !is_less && dependencies(self.closure, position).any(|one| one == other)
    }

    /// Keeps the edges of a module that are direct, in the order of the names.
    fn choose(&mut self, position: usize) {
        let all = self.closure.edges(position);
        // A longer cycle, whose members explain each other in turn.
        let is_cycle =
            dependencies(self.closure, position).all(|one| self.is_explained(one, position));
        let mut sorted = take(&mut self.sorted);
        sorted.clear();
        for (at, edge) in all.iter().enumerate() {
            let to = edge.to as usize;
            let is_other = edge.need != Need::Dependency;
            if is_other || is_cycle || !self.is_explained(to, position) {
                sorted.push(ranked(self.nodes[to].rank, at));
            }
        }
        sorted.sort_unstable();
        let mut direct = Vec::with_capacity(sorted.len());
        for &edge in &sorted {
            direct.push(all[position_of(edge)]);
        }
        self.nodes[position].direct = direct.leak();
        self.sorted = sorted;
    }

    /// Draws the modules that no other needs, by name, and then whatever a cycle left over.
    pub fn draw(&mut self, indent: &[u8], out: &mut Vec<u8>) {
        let mut is_needed = vec![false; self.nodes.len()];
        for node in &self.nodes {
            for edge in node.direct {
                is_needed[edge.to as usize] = true;
            }
        }
        let order = take(&mut self.order);
        for &top in &order {
            if !is_needed[top as usize] {
                self.draw_top(top as usize, indent, out);
            }
        }
        for &left in &order {
            if !self.nodes[left as usize].is_shown {
                self.draw_top(left as usize, indent, out);
            }
        }
    }

    /// A tree without recursion: a chain of dependencies must not end our stack.
    fn draw_top(&mut self, top: usize, indent: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(indent);
        self.draw_name(top, out);
        if !self.enter(top, out) {
            return;
        }
        // The path from the top: a module and how many of its edges were drawn.
        let mut path = vec![(top, 0)];
        while let Some((module, drawn)) = path.last_mut() {
            let Some(&edge) = self.nodes[*module].direct.get(*drawn) else {
                path.pop();
                continue;
            };
            *drawn += 1;
            let child = edge.to as usize;
            out.extend_from_slice(indent);
            for (depth, (module, drawn)) in path.iter().enumerate() {
                let is_last = *drawn == self.nodes[*module].direct.len();
                let is_own = depth + 1 == path.len();
                out.extend_from_slice(match (is_own, is_last) {
                    (true, true) => b"`-- ",
                    (true, false) => b"|-- ",
                    (false, true) => b"    ",
                    (false, false) => b"|   ",
                });
            }
            self.draw_name(child, out);
            out.extend_from_slice(mark(edge.need));
            if self.enter(child, out) {
                path.push((child, 0));
            }
        }
    }

    fn draw_name(&self, module: usize, out: &mut Vec<u8>) {
        out.extend(self.closure.modules()[module].name().kernel_bytes());
    }

    /// Ends the line; whether the subtree is to be drawn here.
    fn enter(&mut self, module: usize, out: &mut Vec<u8>) -> bool {
        let node = &mut self.nodes[module];
        let is_first = !node.is_shown;
        node.is_shown = true;
        if !is_first && !node.direct.is_empty() {
            out.extend_from_slice(b" (*)");
        }
        out.push(b'\n');
        is_first && !node.direct.is_empty()
    }
}

/// A position that sorts by a number.
fn ranked(rank: u32, position: usize) -> u64 {
    u64::from(rank) << 32 | position as u64
}

fn position_of(ranked: u64) -> usize {
    ranked as u32 as usize
}

/// The dependencies of a module's line.
fn dependencies(closure: &Closure, position: usize) -> impl Iterator<Item = usize> + '_ {
    let edges = closure.edges(position).iter();
    edges
        .take_while(|edge| edge.need == Need::Dependency)
        .map(|edge| edge.to as usize)
}

/// What comes after the name of a module that is needed in this way.
fn mark(need: Need) -> &'static [u8] {
    match need {
        Need::Dependency => b"",
        Need::Soft => b" (soft)",
        Need::Weak => b" (weak)",
        Need::Hidden => b" (hidden)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::closure::tests::{closed, every_graph, reachable};
    use crate::needs::{Kernel, Why};
    use crate::system::scratch::Scratch;
    use crate::text::name::ModuleName;

    #[test]
    fn direct_edges_lead_as_far_as_all_and_no_other_explains_them() {
        every_graph("reduction", &mut |edges, kernel| {
            let all = reachable(edges);
            if (0..3).any(|module| all[module][module]) {
                return; // a cycle; depmod leaves those out
            }
            let closure = closed(kernel, &[0, 1, 2]);
            let drawing = Drawing::new(&closure);
            let mut direct = [[false; 3]; 3];
            for (from, node) in drawing.nodes.iter().enumerate() {
                node.direct
                    .iter()
                    .for_each(|edge| direct[from][edge.to as usize] = true);
            }
            assert_eq!(reachable(direct), all, "{edges:?}");
            if edges != all {
                return; // modules.dep is transitive; where it is not, each edge is direct
            }
            for (from, to) in (0..9).map(|pair| (pair / 3, pair % 3)) {
                let is_explained = (0..3).any(|by| direct[from][by] && all[by][to]);
                assert!(!direct[from][to] || !is_explained, "{edges:?}");
            }
        });
    }

    /// What explains a dependency, as it is defined: every dependency of every dependency is looked at.
    fn explained(closure: &Closure, position: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for one in dependencies(closure, position) {
            for further in dependencies(closure, one) {
                if !dependencies(closure, further).any(|back| back == one) {
                    found.push(further);
                }
            }
        }
        found
    }

    #[test]
    fn what_is_explained_is_what_the_definition_says_in_graphs_of_seven() {
        let scratch = Scratch::new("explained");
        let root = scratch.root();
        let mut seed = 1_u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 16
        };
        for round in 0..3000 {
            // Of few edges and of many, with cycles and without, transitive and not.
            let (some, is_acyclic, is_closed) = (random() % 5 + 1, round % 3 > 0, round % 2 > 0);
            let mut edges = [[false; 7]; 7];
            for (from, to) in (0..49).map(|pair| (pair / 7, pair % 7)) {
                edges[from][to] = random() % 6 < some && from != to && (!is_acyclic || from < to);
            }
            for (by, from, to) in (0..343).map(|all| (all / 49, all / 7 % 7, all % 7)) {
                edges[from][to] |= is_closed && edges[from][by] && edges[by][to] && from != to;
            }
            let name = |at: usize| format!("k/m{at}.ko");
            let line = |from: usize| {
                let to = (0..7)
                    .filter(|&to| edges[from][to])
                    .map(|to| " ".to_string() + &name(to));
                name(from) + ":" + &to.collect::<String>() + "\n"
            };
            scratch.write(
                "lib/modules/1/modules.dep",
                (0..7).map(line).collect::<String>(),
            );
            let kernel = Kernel::open(&root, b"1").unwrap();
            let mut closure = Closure::default();
            for at in 0..7 {
                let name = format!("m{at}");
                let line = kernel
                    .line(ModuleName::new(name.as_bytes()))
                    .unwrap()
                    .unwrap();
                closure.add(line, Why::Named);
            }
            closure.complete(&kernel).unwrap();
            let mut search = Drawing::unexplained(&closure);
            for position in search.by_count().into_iter().map(position_of) {
                search.explain(position);
                let wanted = explained(&closure, position);
                for at in dependencies(&closure, position) {
                    let is_wanted = wanted.contains(&at);
                    assert_eq!(
                        search.is_explained(at, position),
                        is_wanted,
                        "{edges:?} {position} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_drawing_ends_and_shows_every_module() {
        every_graph("drawing", &mut |edges, kernel| {
            let closure = closed(kernel, &[0, 1, 2]);
            let mut drawn = Vec::new();
            Drawing::new(&closure).draw(b"> ", &mut drawn);
            let drawn = String::from_utf8(drawn).unwrap();
            assert!(drawn.lines().all(|line| line.starts_with("> ")), "{drawn}");
            for name in ["a", "b_c", "d"] {
                let is_it = |line: &&str| line.trim_end_matches(" (*)").ends_with(name);
                let times = drawn.lines().filter(is_it).count();
                let marked = drawn.matches(&format!("{name} (*)")).count();
                assert!(times >= 1 && marked < times, "{edges:?}\n{drawn}");
            }
        });
    }
}
