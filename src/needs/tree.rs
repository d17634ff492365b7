//! A closure as a dependency tree.
//!
//! modules.dep names every module that another needs, directly or not. The tree shows direct
//! edges: those that no other dependency explains (the transitive reduction). What is needed in
//! another way is shown where it is asked for, and marked.

use crate::needs::closure::Edge;
use crate::needs::{Closure, Need};
use core::mem::take;

/// How far a node's subtree got.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    No,
    Yes,
}

/// Draws trees of one closure into a text.
pub struct Drawing<'c> {
    closure: &'c Closure,
    /// The modules, sorted by name.
    order: Vec<u32>,
    /// For each module, those that it needs directly, sorted by name.
    direct: Vec<&'static [Edge]>,
    shown: Vec<Shown>,
}

impl<'c> Drawing<'c> {
    /// Finds the direct edges of a complete closure.
    pub fn new(closure: &'c Closure) -> Self {
        let count = closure.modules().len();
        let order = closure.by_name();
        let mut ranks = vec![0; count];
        for (rank, &position) in order.iter().enumerate() {
            ranks[position as usize] = rank as u32;
        }
        let mut direct: Vec<&[Edge]> = vec![&[]; count];
        let mut sorted = Vec::new();
        let mut search = Search::new(closure);
        // Those that need least first, so that what a module needs is known when it comes.
        for position in search.by_count() {
            let position = position_of(position);
            search.explain(position);
            // A longer cycle, whose members explain each other in turn.
            let is_cycle =
                dependencies(closure, position).all(|one| search.is_explained(one, position));
            let all = closure.edges(position);
            sorted.clear();
            for (at, edge) in all.iter().enumerate() {
                let to = edge.to as usize;
                let is_other = edge.need != Need::Dependency;
                if is_other || is_cycle || !search.is_explained(to, position) {
                    sorted.push(ranked(ranks[to], at));
                }
            }
            sorted.sort_unstable();
            let edges = sorted.iter().map(|&edge| all[position_of(edge)]);
            direct[position] = edges.collect::<Vec<Edge>>().leak();
        }
        Drawing {
            closure,
            order,
            direct,
            shown: vec![Shown::No; count],
        }
    }

    /// Draws the modules that no other needs, by name, and then whatever a cycle left over.
    pub fn draw(mut self, indent: &[u8]) -> Vec<u8> {
        let mut is_needed = vec![false; self.direct.len()];
        for &edges in &self.direct {
            for edge in edges {
                is_needed[edge.to as usize] = true;
            }
        }
        let mut out = Vec::new();
        let order = take(&mut self.order);
        for &top in &order {
            if !is_needed[top as usize] {
                self.draw_top(top as usize, indent, &mut out);
            }
        }
        for &left in &order {
            if self.shown[left as usize] == Shown::No {
                self.draw_top(left as usize, indent, &mut out);
            }
        }
        out
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
            let Some(&edge) = self.direct[*module].get(*drawn) else {
                path.pop();
                continue;
            };
            *drawn += 1;
            let child = edge.to as usize;
            out.extend_from_slice(indent);
            for (depth, (module, drawn)) in path.iter().enumerate() {
                let is_last = *drawn == self.direct[*module].len();
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
        let is_first = self.shown[module] == Shown::No;
        self.shown[module] = Shown::Yes;
        if !is_first && !self.direct[module].is_empty() {
            out.extend_from_slice(b" (*)");
        }
        out.push(b'\n');
        is_first && !self.direct[module].is_empty()
    }
}

/// A position that sorts by a number.
fn ranked(rank: u32, position: usize) -> u64 {
    u64::from(rank) << 32 | position as u64
}

fn position_of(ranked: u64) -> usize {
    ranked as u32 as usize
}

/// Which dependencies others explain. What is marked for a module is marked with its position, to
/// need no clearing.
struct Search<'c> {
    closure: &'c Closure,
    /// How many dependencies each module has.
    counts: Vec<u32>,
    /// For each module, whether its line names all that the lines of its dependencies name, and so on
    /// down: as depmod writes them. Known of those that were looked at.
    is_transitive: Vec<bool>,
    /// Dependencies of the module.
    listed: Vec<u32>,
    /// Those that another dependency explains.
    explained: Vec<u32>,
    /// Those whose own dependencies have been marked with those of another.
    covered: Vec<u32>,
    /// The dependencies of the module, those first that need most.
    own: Vec<u64>,
}

impl<'c> Search<'c> {
    fn new(closure: &'c Closure) -> Self {
        let all = closure.modules().len();
        let count = |position| dependencies(closure, position).count() as u32;
        Search {
            closure,
            counts: (0..all).map(count).collect(),
            is_transitive: vec![false; all],
            listed: vec![u32::MAX; all],
            explained: vec![u32::MAX; all],
            covered: vec![u32::MAX; all],
            own: Vec::new(),
        }
    }

    /// All positions, ranked by their dependencies, those with the fewest first.
    fn by_count(&self) -> Vec<u64> {
        let counts = self.counts.iter().enumerate();
        let mut order: Vec<u64> = counts.map(|(at, &count)| ranked(count, at)).collect();
        order.sort_unstable();
        order
    }

    fn is_explained(&self, dependency: usize, position: usize) -> bool {
        self.explained[dependency] == position as u32
    }

    /// Marks what the dependencies of a module explain: a dependency of one of them is explained by
    /// that one, unless it needs that one in turn: in a cycle both edges stay rather than none.
    fn explain(&mut self, position: usize) {
        let mark = position as u32;
        let mut own = take(&mut self.own);
        own.clear();
        // A module needs more than what it needs does, so that most are covered when they come.
        let counts = &self.counts;
        own.extend(dependencies(self.closure, position).map(|one| ranked(!counts[one], one)));
        own.sort_unstable();
        for &one in &own {
            self.listed[position_of(one)] = mark;
        }
        self.listed[position] = mark;
        let mut is_transitive = true;
        for &one in &own {
            let one = position_of(one);
            if self.covered[one] == mark {
                continue;
            }
            is_transitive &= self.is_transitive[one];
            for further in dependencies(self.closure, one) {
                is_transitive &= self.listed[further] == mark;
                if !self.needs(further, one) {
                    self.explained[further] = mark;
                }
                if self.is_transitive[one] {
                    self.covered[further] = mark;
                }
            }
        }
        self.is_transitive[position] = is_transitive;
        self.own = own;
    }

    /// Whether a module's line names another. Where lines are transitive, one with fewer names cannot.
    fn needs(&self, position: usize, other: usize) -> bool {
        let is_known = self.is_transitive[position] && self.is_transitive[other];
        let is_less = is_known && self.counts[position] < self.counts[other];
        !is_less && dependencies(self.closure, position).any(|one| one == other)
    }
}

/// The dependencies of a module's line.
fn dependencies(closure: &Closure, position: usize) -> impl Iterator<Item = usize> + '_ {
    let edges = closure.edges(position).iter();
    edges
        .take_while(|edge| edge.need == Need::Dependency)
        .map(|edge| edge.to as usize)
}

/// What stands behind the name of a module that is needed in this way.
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
            for (from, edges) in drawing.direct.iter().enumerate() {
                edges
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
            let mut search = Search::new(&closure);
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
            let drawn = Drawing::new(&closure).draw(b"> ");
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
