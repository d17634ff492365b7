//! The modules that must stay together: the wanted ones and everything that they need.

use crate::error::{Error, Result};
use crate::format::{new_list, Text};
use crate::needs::{Kernel, Need};
use crate::text::dep::{DepLine, Dependencies};
use crate::text::modprobe::targets;
use crate::text::name::{ModuleName, ModulePath};
use crate::text::sort::sort;
use crate::text::table::Table;

/// Why a module is in a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Named on the command line.
    Named,
    /// Loaded now.
    Loaded,
    /// In the registry.
    Registered,
    /// A file says that it is loaded at boot.
    Declared(Text),
    /// The boot asks for it, because of this.
    Boot(Text),
    /// What is built into the kernel asks for it.
    BuiltIn,
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
    /// Its file, as its line in modules.dep has it.
    pub path: ModulePath<'static>,
    dependencies: Dependencies<'static>,
    /// Why it came in first.
    pub why: Why,
    /// The end of its part of the closure's edges, which begins where the module before ends.
    edges_end: u32,
    hash: u32,
    /// The first module that needs it, and how.
    first_user: Option<(u32, Need)>,
    /// The last one so far.
    last_user: Option<u32>,
}

/// A target of rules that was looked up.
struct Target {
    name: Text,
    /// The positions of its modules.
    modules: &'static [u32],
}

/// A set of modules, closed under "needs".
#[derive(Default)]
pub struct Closure {
    modules: Vec<Needed>,
    /// Their positions, by name.
    table: Table,
    /// For one module after the other, what it needs, the dependencies of its line first.
    edges: Vec<Edge>,
    /// How many modules have had their needs looked at.
    followed: usize,
    /// Few targets are asked for by many modules, so each is looked up once.
    targets: Vec<Target>,
    /// Their positions, by name.
    target_table: Table,
}

impl Needed {
    /// The module's name.
    pub fn name(&self) -> ModuleName<'static> {
        self.path.name()
    }
}

impl Closure {
    /// An empty one, which stays.
    #[inline(never)]
    pub fn empty() -> &'static mut Closure {
        Box::leak(Box::<Closure>::default())
    }

    /// The modules, in the order in which they came in.
    pub fn modules(&self) -> &[Needed] {
        &self.modules
    }

    /// The position of a module.
    pub fn position(&self, name: ModuleName<'_>) -> Option<usize> {
        let is_it = |position| name.is_before(self.modules[position as usize].path.0);
        let found = self.table.find(name.hash(), &is_it);
        found.map(|position| position as usize)
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
    /// has one before it.
    pub fn first_user(&self, position: usize) -> Option<(usize, Need)> {
        let user = self.modules[position].first_user;
        user.map(|(user, need)| (user as usize, need))
    }

    /// Puts modules in.
    pub fn add_all(&mut self, lines: &[DepLine<'static>], why: Why) {
        for &line in lines {
            self.add(line, why);
        }
    }

    /// Puts a module in; what it needs comes in with [`Closure::complete`].
    pub fn add(&mut self, line: DepLine<'static>, why: Why) -> usize {
        let (path, dependencies) = line.parts();
        let hash = path.hash();
        let (modules, new) = (&self.modules, self.modules.len());
        // All lines come from one index, where a module has one path.
        let is_it = |position| modules[position as usize].path == path;
        if let Some(known) = self.table.insert(hash, new as u32, &is_it) {
            return known as usize;
        }
        self.modules.push(Needed {
            path,
            dependencies,
            why,
            edges_end: 0,
            hash,
            first_user: None,
            last_user: None,
        });
        new
    }

    /// Adds to `paths` those of dependencies that are not among the modules, each as often as it is needed.
    pub fn missing(&self, paths: &mut Vec<Text>) {
        for module in &self.modules {
            for path in module.dependencies {
                let found = self.position(path.name());
                if found.map_or(true, |position| self.modules[position].path != path) {
                    paths.push(path.0);
                }
            }
        }
    }

    /// Brings in everything that the modules need, whether or not modules.dep is transitive.
    ///
    /// # Errors
    /// A damaged line, or a dependency that has none.
    pub fn complete(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        while self.followed < self.modules.len() {
            self.follow_line(kernel)?;
            self.follow_rules(kernel)?;
            self.modules[self.followed].edges_end = self.edges.len() as u32;
            self.followed += 1;
        }
        Ok(())
    }

    fn follow_line(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let user = &self.modules[self.followed];
        let (dependencies, user) = (user.dependencies, user.path);
        for path in dependencies {
            let hash = path.hash();
            let is_it = |position| self.modules[position as usize].path == path;
            let to = match self.table.find(hash, &is_it) {
                Some(known) => known,
                None => match kernel.line(path.name())? {
                    Some(line) if line.path() == path => self.add(line, Why::Needed) as u32,
                    _ => {
                        return Err(Error::refused(
                            msg!("{}: {} needs {}, which has no line of its own; run depmod"),
                            &[kernel.shown(b"modules.dep"), user.0, path.0],
                        ))
                    }
                },
            };
            self.connect(to, Need::Dependency);
        }
        Ok(())
    }

    /// Softdeps, weakdeps, hidden needs. A target that the kernel does not have is none, as
    /// modprobe has it.
    fn follow_rules(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let Needed { path, hash, .. } = self.modules[self.followed];
        kernel.rules()?.of(path, hash, &mut |rule| {
            for target in targets(rule.targets) {
                for &module in self.target(kernel, target)? {
                    self.connect(module, rule.need);
                }
            }
            Ok(())
        })
    }

    /// Notes, once, that the module whose needs are looked at needs another one.
    fn connect(&mut self, to: u32, need: Need) {
        let user = self.followed as u32;
        let module = &mut self.modules[to as usize];
        if to == user || module.last_user == Some(user) {
            return;
        }
        module.first_user.get_or_insert((user, need));
        module.last_user = Some(user);
        self.edges.push(Edge { to, need });
    }

    /// The positions of the modules that a target stands for.
    fn target(&mut self, kernel: &Kernel<'_>, name: Text) -> Result<&'static [u32]> {
        let (targets, new) = (&self.targets, self.targets.len());
        let is_it = |target| targets[target as usize].name == name;
        let hash = ModuleName::new(name).hash();
        if let Some(known) = self.target_table.insert(hash, new as u32, &is_it) {
            return Ok(self.targets[known as usize].modules);
        }
        let modules = new_list();
        for &line in kernel.modules_named(name)? {
            modules.push(self.add(line, Why::Needed) as u32);
        }
        let modules = &*modules;
        self.targets.push(Target { name, modules });
        Ok(modules)
    }

    /// The paths of the modules, sorted.
    pub fn paths(&self) -> Vec<&'static [u8]> {
        let order = self.order(|module, text| text.extend_from_slice(module.path.0));
        let path = |&position: &u32| self.modules[position as usize].path.0;
        order.iter().map(path).collect()
    }

    /// The positions of the modules, sorted by their names.
    pub fn by_name(&self) -> Vec<u32> {
        self.order(|module, text| text.extend(module.name().kernel_bytes()))
    }

    /// The positions of the modules, sorted by what `push` writes of each.
    fn order(&self, push: fn(&Needed, &mut Vec<u8>)) -> Vec<u32> {
        let mut bytes = Vec::with_capacity(self.modules.len() * 64);
        let mut starts = Vec::with_capacity(self.modules.len());
        for (position, module) in self.modules.iter().enumerate() {
            bytes.extend_from_slice(&(position as u32).to_ne_bytes());
            starts.push(bytes.len() as u32);
            push(module, &mut bytes);
            bytes.push(0);
        }
        sort(&bytes, &mut starts);
        for start in &mut starts {
            let mut position = [0; 4];
            position.copy_from_slice(&bytes[*start as usize - 4..*start as usize]);
            *start = u32::from_ne_bytes(position);
        }
        starts
    }
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

    /// Story: a byte of modules.dep changed, where there is no modules.dep.bin to compare it with. The
    /// file name alone said which module a dependency is, so that of two with a letter for the space between
    /// them the first was deleted, and what needs it did not load.
    #[test]
    fn a_dependency_is_a_module_by_its_whole_path() {
        let scratch = Scratch::new("whole");
        let root = scratch.root();
        for dependencies in [
            "k/b.kokk/c.ko",
            "q/b.ko k/c.ko",
            "k/b.ko k:c.ko",
            "k/b.ko.xz",
        ] {
            let dep = format!("k/a.ko: {dependencies}\nk/b.ko:\nk/c.ko:\n");
            scratch.write("lib/modules/1/modules.dep", dep);
            let kernel = Kernel::open(&root, b"1").unwrap();
            let mut closure = Closure::default();
            let line = kernel.line(ModuleName::new(b"a")).unwrap().unwrap();
            closure.add(line, Why::Named);
            assert!(closure.complete(&kernel).is_err(), "{dependencies}");
        }
    }

    #[test]
    fn an_empty_closure_has_nothing() {
        let closure = Closure::default();
        assert!(closure.position(ModuleName::new(b"a")).is_none());
        assert!(closure.paths().is_empty());
    }
}
