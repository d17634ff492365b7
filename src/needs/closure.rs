//! The modules that must stay together: the wanted ones and everything that they need.

use crate::error::{Error, Result};
use crate::needs::{Kernel, Need};
use crate::text::alias::normalised;
use crate::text::compare;
use crate::text::dep::DepLine;
use crate::text::modprobe::targets;
use crate::text::name::{ModuleName, ModulePath};

/// Why a module is in a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Named on the command line.
    Named,
    /// Loaded now.
    Loaded,
    /// In the registry.
    Registered,
    /// Outside `kernel/`, where a prune leaves everything alone.
    Outside,
    /// Another module needs it.
    Needed,
}

/// Another module that a module needs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The other's position in the closure.
    pub to: u32,
    /// How it is needed.
    pub need: Need,
}

/// A module of a closure.
pub struct Needed {
    /// Its line in modules.dep.
    pub line: DepLine<'static>,
    /// Why it came in first.
    pub why: Why,
    /// The end of its part of the closure's edges, which begins where the module before ends.
    edges_end: u32,
    hash: u32,
}

/// A set of modules, closed under "needs".
#[derive(Default)]
pub struct Closure {
    modules: Vec<Needed>,
    /// Positions in `modules` + 1 by hash of the name; 0 is free. A power of two, half empty.
    slots: Vec<u32>,
    /// For one module after the other, what it needs, the dependencies of its line first.
    edges: Vec<Edge>,
    /// How many modules have had their needs looked at.
    followed: usize,
    /// The targets of rules that were looked up, and the positions of their modules.
    targets: Vec<(&'static [u8], Vec<u32>)>,
}

impl Needed {
    /// The module's name.
    pub fn name(&self) -> ModuleName<'static> {
        self.line.path.name()
    }
}

impl Closure {
    /// The modules, in the order in which they came in.
    pub fn modules(&self) -> &[Needed] {
        &self.modules
    }

    /// The position of a module.
    pub fn position(&self, name: ModuleName<'_>) -> Option<usize> {
        let is_it = |path: ModulePath<'_>| match path.0.strip_suffix(b".ko") {
            Some(stem) => name.before_in(stem).is_some(),
            None => path.name() == name,
        };
        self.probe(name.hash(), &is_it).ok()
    }

    /// What a module needs, each once, the dependencies of its line first.
    pub fn edges(&self, position: usize) -> &[Edge] {
        let start = match position.checked_sub(1) {
            Some(before) => self.modules[before].edges_end,
            None => 0,
        };
        &self.edges[start as usize..self.modules[position].edges_end as usize]
    }

    /// The first module that needs this one, and how. A module that came in because of others
    /// has one that stands before it.
    pub fn first_user(&self, position: usize) -> Option<(usize, Need)> {
        (0..self.followed).find_map(|user| {
            let edges = self.edges(user).iter();
            let mut edges = edges.filter(|edge| edge.to as usize == position);
            edges.next().map(|edge| (user, edge.need))
        })
    }

    /// The module that `is_it` knows by its path, or the free slot where it belongs.
    fn probe(
        &self,
        hash: u32,
        is_it: &dyn Fn(ModulePath<'_>) -> bool,
    ) -> core::result::Result<usize, usize> {
        let Some(mask) = self.slots.len().checked_sub(1) else {
            return Err(0);
        };
        let mut slot = hash as usize & mask;
        while let Some(position) = (self.slots[slot] as usize).checked_sub(1) {
            let module = &self.modules[position];
            if module.hash == hash && is_it(module.line.path) {
                return Ok(position);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    /// Puts a module in; what it needs comes in with [`Closure::complete`].
    pub fn add(&mut self, line: DepLine<'static>, why: Why) -> usize {
        if self.modules.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = hash_of(line.path);
        // All lines come from one index, where a module has one path.
        self.probe(hash, &|path| path == line.path)
            .unwrap_or_else(|slot| {
                self.modules.push(Needed {
                    line,
                    why,
                    edges_end: 0,
                    hash,
                });
                self.slots[slot] = self.modules.len() as u32;
                self.modules.len() - 1
            })
    }

    fn grow(&mut self) {
        self.slots = vec![0; (self.slots.len() * 2).max(512)];
        for position in 0..self.modules.len() {
            if let Err(slot) = self.probe(self.modules[position].hash, &|_| false) {
                self.slots[slot] = position as u32 + 1;
            }
        }
    }

    /// Brings in everything that the modules need, whether or not modules.dep is transitive.
    ///
    /// # Errors
    /// A damaged line, or a dependency that has none.
    pub fn complete(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        while self.followed < self.modules.len() {
            let first = self.edges.len();
            self.follow_line(kernel)?;
            self.follow_rules(kernel, first)?;
            self.modules[self.followed].edges_end = self.edges.len() as u32;
            self.followed += 1;
        }
        Ok(())
    }

    fn follow_line(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let line = self.modules[self.followed].line;
        for path in line.dependencies() {
            let position = match self.probe(hash_of(path), &|other| other == path) {
                Ok(position) => position,
                Err(_) => match kernel.line(path.name())? {
                    Some(line) => self.add(line, Why::Needed),
                    None => {
                        return Err(Error::refused(
                            "{}: {} needs {}, which has no line of its own; run depmod",
                            &[kernel.shown(b"modules.dep"), line.path.0, path.0],
                        ))
                    }
                },
            };
            if position != self.followed {
                self.edges.push(Edge {
                    to: position as u32,
                    need: Need::Dependency,
                });
            }
        }
        Ok(())
    }

    /// Softdeps, weakdeps, hidden needs; `first` is where the module's edges begin. A target
    /// that the kernel does not have is none, as modprobe has it.
    fn follow_rules(&mut self, kernel: &Kernel<'_>, first: usize) -> Result<()> {
        let Needed { line, hash, .. } = self.modules[self.followed];
        for rule in kernel.rules()?.of(line.path, hash) {
            for target in targets(rule.targets) {
                for to in self.target(kernel, target)? {
                    let is_known = self.edges[first..].iter().any(|edge| edge.to == to);
                    if !is_known && to as usize != self.followed {
                        let need = rule.need;
                        self.edges.push(Edge { to, need });
                    }
                }
            }
        }
        Ok(())
    }

    /// The positions of the modules that a target stands for. Few targets are asked for by many
    /// modules, so each is looked up once.
    fn target(&mut self, kernel: &Kernel<'_>, target: &'static [u8]) -> Result<Vec<u32>> {
        if let Some((_, known)) = self.targets.iter().find(|known| known.0 == target) {
            return Ok(known.clone());
        }
        let name: Vec<u8> = normalised(target).collect();
        let lines = kernel.modules_of(&name)?;
        let add = |line| self.add(line, Why::Needed) as u32;
        let positions: Vec<u32> = lines.into_iter().map(add).collect();
        self.targets.push((target, positions.clone()));
        Ok(positions)
    }

    /// The paths of the modules, sorted.
    pub fn paths(&self) -> Vec<&'static [u8]> {
        let modules = self.modules.iter();
        let mut paths: Vec<&[u8]> = modules.map(|module| module.line.path.0).collect();
        // The stable sort asks for half as many comparisons as the unstable one does where std is
        // built for size.
        paths.sort_by(|a, b| compare(a, b));
        paths
    }
}

/// The hash of the name in a path.
fn hash_of(path: ModulePath<'_>) -> u32 {
    let stem = path.0.strip_suffix(b".ko");
    let hash = stem.and_then(ModulePath::hash_of_stem);
    hash.unwrap_or_else(|| path.name().hash())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::system::scratch::Scratch;

    const NAMES: [&str; 3] = ["a", "b-c", "d"];

    /// Calls `try_one` with every graph of three modules, as edges from one to another, and with
    /// the kernel whose modules.dep says it.
    pub(crate) fn every_graph(test: &str, try_one: &mut dyn FnMut([[bool; 3]; 3], &Kernel<'_>)) {
        let scratch = Scratch::new(test);
        let root = scratch.root();
        for graph in 0..1 << 9 {
            let edge = |from: usize, to: usize| graph & (1 << (from * 3 + to)) != 0;
            let edges = [0, 1, 2].map(|from| [0, 1, 2].map(|to| edge(from, to)));
            let mut dep = String::new();
            for (from, edges) in edges.iter().enumerate() {
                dep += &format!("k/{}.ko:", NAMES[from]);
                for (name, _) in NAMES.iter().zip(edges).filter(|(_, is_edge)| **is_edge) {
                    dep += &format!(" k/{name}.ko");
                }
                dep += "\n";
            }
            scratch.write("lib/modules/1/modules.dep", dep);
            try_one(edges, &Kernel::open(&root, b"1").unwrap());
        }
    }

    /// The closure of the modules at these positions.
    pub(crate) fn closed(kernel: &Kernel<'_>, wanted: &[usize]) -> Closure {
        let mut closure = Closure::default();
        for &at in wanted {
            let name = ModuleName::new(NAMES[at].as_bytes());
            closure.add(kernel.line(name).unwrap().unwrap(), Why::Named);
        }
        closure.complete(kernel).unwrap();
        closure
    }

    /// Which modules can be reached from which, over one edge or more.
    pub(crate) fn reachable(mut edges: [[bool; 3]; 3]) -> [[bool; 3]; 3] {
        for by in 0..3 {
            for from in 0..3 {
                for to in 0..3 {
                    edges[from][to] |= edges[from][by] && edges[by][to];
                }
            }
        }
        edges
    }

    #[test]
    fn a_closure_is_what_can_be_reached_in_every_graph_of_three() {
        every_graph("closure", &mut |edges, kernel| {
            let reachable = reachable(edges);
            for (wanted, reached) in reachable.iter().enumerate() {
                let closure = closed(kernel, &[wanted]);
                for (at, name) in NAMES.iter().enumerate() {
                    let position = closure.position(ModuleName::new(name.as_bytes()));
                    let is_needed = at == wanted || reached[at];
                    assert_eq!(position.is_some(), is_needed, "{edges:?} {wanted} {at}");
                    let why = match at == wanted {
                        true => Why::Named,
                        false => Why::Needed,
                    };
                    let module = position.map(|at| &closure.modules()[at]);
                    assert!(module.map_or(true, |module| module.why == why));
                }
                assert!(closure.paths().windows(2).all(|pair| pair[0] < pair[1]));
            }
        });
    }

    #[test]
    fn the_dependencies_of_a_module_are_those_of_its_line_without_itself() {
        every_graph("edges", &mut |edges, kernel| {
            let closure = closed(kernel, &[0, 1, 2]);
            for from in 0..3 {
                let wanted = (0..3).filter(|&to| edges[from][to] && to != from);
                let found = closure.edges(from).iter().map(|edge| edge.to as usize);
                assert!(found.eq(wanted), "{edges:?}");
            }
        });
    }

    #[test]
    fn a_closure_grows_past_its_first_table() {
        let scratch = Scratch::new("grow");
        let line = |number| format!("m{number}.ko: m{}.ko\n", number + 1);
        let dep: String = (0..2000).map(line).collect();
        scratch.write("lib/modules/1/modules.dep", dep + "m2000.ko:\n");
        let root = scratch.root();
        let kernel = Kernel::open(&root, b"1").unwrap();
        let mut closure = Closure::default();
        let first = kernel.line(ModuleName::new(b"m0")).unwrap().unwrap();
        closure.add(first, Why::Named);
        closure.complete(&kernel).unwrap();
        for number in 0..=2000 {
            let name = format!("m{number}");
            assert_eq!(
                closure.position(ModuleName::new(name.as_bytes())),
                Some(number)
            );
        }
        assert!(closure.position(ModuleName::new(b"m2001")).is_none());
    }

    #[test]
    fn an_empty_closure_has_nothing() {
        let closure = Closure::default();
        assert!(closure.position(ModuleName::new(b"a")).is_none());
        assert!(closure.paths().is_empty());
    }
}
