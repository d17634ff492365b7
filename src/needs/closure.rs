//! The modules that must stay together: the wanted ones and everything that they need.

use crate::error::{Error, Result};
use crate::needs::Kernel;
use crate::text::dep::DepLine;
use crate::text::name::ModuleName;

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
    /// In the line of another module in modules.dep.
    Dependency,
}

/// A module of a closure.
pub struct Needed {
    /// Its line in modules.dep.
    pub line: DepLine<'static>,
    /// Why it came in first.
    pub why: Why,
    /// Its name, taken from the line once.
    name: ModuleName<'static>,
    /// The end of its part of [`Closure::edges`], which begins where the module before ends.
    edges_end: u32,
    hash: u32,
}

/// A set of modules, closed under "needs".
#[derive(Default)]
pub struct Closure {
    modules: Vec<Needed>,
    /// Positions in `modules` + 1 by hash of the name; 0 is free. A power of two, half empty.
    slots: Vec<u32>,
    /// For one module after the other, the positions of those that its line names.
    edges: Vec<u32>,
    /// How many modules have had their needs looked at.
    followed: usize,
}

impl Needed {
    /// The module's name.
    pub fn name(&self) -> ModuleName<'static> {
        self.name
    }
}

impl Closure {
    /// The modules, in the order in which they came in.
    pub fn modules(&self) -> &[Needed] {
        &self.modules
    }

    /// The position of a module.
    pub fn position(&self, name: ModuleName<'_>) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        self.probe(name, name.hash()).ok()
    }

    /// The modules that a module's line names, as positions in the closure.
    pub fn dependencies(&self, position: usize) -> &[u32] {
        let start = match position.checked_sub(1) {
            Some(before) => self.modules[before].edges_end,
            None => 0,
        };
        &self.edges[start as usize..self.modules[position].edges_end as usize]
    }

    /// The module's position, or the free slot where it belongs.
    fn probe(&self, name: ModuleName<'_>, hash: u32) -> core::result::Result<usize, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        while let Some(position) = (self.slots[slot] as usize).checked_sub(1) {
            let module = &self.modules[position];
            if module.hash == hash && module.name == name {
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
        let name = line.path.name();
        let hash = name.hash();
        self.probe(name, hash).unwrap_or_else(|slot| {
            self.modules.push(Needed {
                line,
                why,
                name,
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
            let module = &self.modules[position];
            if let Err(slot) = self.probe(module.name, module.hash) {
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
            let line = self.modules[self.followed].line;
            for path in line.dependencies() {
                let name = path.name();
                let position = match self.position(name) {
                    Some(position) => position,
                    None => match kernel.line(name)? {
                        Some(line) => self.add(line, Why::Dependency),
                        None => {
                            return Err(Error::refused(&[
                                &kernel.shown(b"modules.dep"),
                                b": ",
                                line.path.0,
                                b" needs ",
                                path.0,
                                b", which has no line of its own; run depmod",
                            ]))
                        }
                    },
                };
                if position != self.followed {
                    self.edges.push(position as u32);
                }
            }
            self.modules[self.followed].edges_end = self.edges.len() as u32;
            self.followed += 1;
        }
        Ok(())
    }

    /// The paths of the modules, sorted.
    pub fn paths(&self) -> Vec<&'static [u8]> {
        let mut paths: Vec<&[u8]> = self
            .modules
            .iter()
            .map(|module| module.line.path.0)
            .collect();
        paths.sort_unstable();
        paths
    }
}
