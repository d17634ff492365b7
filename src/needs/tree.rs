//! A closure as a dependency tree.
//!
//! modules.dep names every module that another needs, directly or not. The tree shows direct
//! edges: those that no other dependency explains (the transitive reduction). What is needed in
//! another way is shown where it is asked for, and marked.

use crate::needs::closure::{Edge, Needed};
use crate::needs::{Closure, Need};

/// How far a node's subtree got.
#[derive(Clone, Copy, PartialEq)]
enum Shown {
    No,
    Yes,
}

/// Draws trees of one closure into a text.
pub struct Drawing<'c> {
    closure: &'c Closure,
    /// For each module, those that it needs directly, sorted by name.
    direct: Vec<Vec<Edge>>,
    shown: Vec<Shown>,
}

impl<'c> Drawing<'c> {
    /// Finds the direct edges of a complete closure.
    pub fn new(closure: &'c Closure) -> Self {
        let modules = closure.modules();
        // The last module for which a position was marked, to need no clearing.
        let mut explained = vec![u32::MAX; modules.len()];
        let mut direct = Vec::with_capacity(modules.len());
        for position in 0..modules.len() {
            for dependency in dependencies(closure, position) {
                for further in dependencies(closure, dependency) {
                    // In a cycle each explains the other: keep both edges rather than none.
                    if !dependencies(closure, further).any(|back| back == dependency) {
                        explained[further] = position as u32;
                    }
                }
            }
            let all = closure.edges(position);
            let mut edges = all.to_vec();
            edges.retain(|edge| {
                edge.need != Need::Dependency || explained[edge.to as usize] != position as u32
            });
            if edges.iter().all(|edge| edge.need != Need::Dependency) {
                // A longer cycle, whose members explain each other in turn.
                edges.extend(all.iter().filter(|edge| edge.need == Need::Dependency));
            }
            sort_by_name(&mut edges, modules);
            direct.push(edges);
        }
        Drawing {
            closure,
            direct,
            shown: vec![Shown::No; modules.len()],
        }
    }

    /// Draws the modules that no other needs, by name, and then whatever a cycle left over.
    pub fn draw(mut self, indent: &[u8]) -> Vec<u8> {
        let mut is_needed = vec![false; self.direct.len()];
        for edge in self.direct.iter().flatten() {
            is_needed[edge.to as usize] = true;
        }
        let modules = self.closure.modules();
        let need = Need::Dependency;
        let mut order: Vec<Edge> = (0..modules.len() as u32)
            .map(|to| Edge { to, need })
            .collect();
        sort_by_name(&mut order, modules);
        let order = order.iter().map(|edge| edge.to as usize);
        let mut out = Vec::new();
        for top in order.clone().filter(|&position| !is_needed[position]) {
            self.draw_top(top, indent, &mut out);
        }
        for left in order {
            if self.shown[left] == Shown::No {
                self.draw_top(left, indent, &mut out);
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

/// Sorts edges by the names that they lead to; of the same, one stays.
fn sort_by_name(edges: &mut Vec<Edge>, modules: &[Needed]) {
    edges.sort_unstable_by_key(|edge| modules[edge.to as usize].name());
    edges.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::closure::tests::{closed, every_graph, reachable};

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
