//! What forgetting packages changes in `status`: which stanzas go, and for which a stand-in
//! comes. Pure: text in, text out.
//!
//! An installed package that depends on a forgotten one would make every later apt-get fail. A
//! stand-in is a small stanza that provides the forgotten package in its version and keeps its
//! dependencies, so that dependants and `apt-get autoremove` see no difference, while the
//! package itself can be installed again.
//!
//! A stand-in is never marked as automatically installed: apt's solver would take one that no
//! archive has for obsolete and bring the real package back (apt 3.3: apt-pkg/solver3.cc).

use crate::format::{join, keep, new_list, push_rendered, render, List, Text};
use crate::package::relation::{alternatives, each_name, group_of, groups, relation, Relation};
use crate::text::catalog::{Catalog, CatalogEntry};
use crate::text::split_at_byte;
use crate::text::stanza::{name_in, Stanza, Stanzas};

/// What the names of stand-ins begin with.
pub const PREFIX: &[u8] = b"limopack-stand-in-";

const VERSION: &[u8] = b"Version";
const SOURCE: &[u8] = b"Source";
const PROVIDES: &[u8] = b"Provides";

/// Whether a package with dependants gets a stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIns {
    /// Where one is needed.
    Make,
    /// Never.
    Refuse,
}

/// What is known of the packages, and which are to be forgotten.
pub struct Situation<'t, 'a> {
    /// The packages.
    pub status: &'t Stanzas<'t>,
    /// Positions of the stanzas to forget.
    pub chosen: &'a [usize],
    /// apt's extended_states.
    pub marks: &'a Stanzas<'a>,
    /// Whether a package for which a stand-in is there was installed automatically.
    pub was_auto: &'a dyn Fn(&[u8]) -> bool,
    /// Positions of packages that get no stand-in, and of stand-ins that go although needed.
    pub plain: &'a [usize],
}

/// A stand-in that comes.
pub struct StandIn {
    /// Its name in `info/`: with `:arch` where several architectures can be there together.
    pub info_name: Text,
    /// Its stanza.
    pub text: Text,
}

/// What changes.
#[derive(Default)]
pub struct Edit<'t> {
    /// The new file.
    pub parts: &'t [&'t [u8]],
    /// Stanzas that come at its end.
    pub stand_ins: Vec<StandIn>,
    /// Stand-ins that go, because the real package is back or nobody needs them.
    pub dropped: Vec<&'t Stanza<'t>>,
    /// Forgotten packages and who depends on them.
    pub dependants: Vec<(&'t [u8], &'t [u8])>,
    /// Files of `info/` that are replaced.
    pub trimmed: Vec<(Text, [Text; 1])>,
}

impl Edit<'_> {
    /// Whether `status`, which is `text`, stays as it is.
    pub fn is_empty(&self, text: &[u8]) -> bool {
        self.stand_ins.is_empty()
            && self.parts.iter().map(|part| part.len()).sum::<usize>() == text.len()
    }
}

/// Whether a package has its own automatic mark in apt's extended_states, which names the
/// native architecture for packages of all.
pub fn is_auto(marks: &Stanzas<'_>, package: &[u8], arch: &[u8]) -> bool {
    marks
        .named(package)
        .any(|(_, mark)| is_of_arch(mark, arch) && mark.field(b"Auto-Installed") == b"1")
}

/// Whether a stanza of extended_states is one for a package of this architecture.
pub fn is_of_arch(mark: &Stanza<'_>, arch: &[u8]) -> bool {
    mark.arch == arch || arch == b"all" || arch.is_empty()
}

/// The package that a stand-in replaces, by the stand-in's name.
pub fn stood_in_for(package: &[u8]) -> Option<&[u8]> {
    package.strip_prefix(PREFIX)
}

/// The name of a package in `info/`.
pub fn info_name(package: &[u8], stanza: &Stanza<'_>) -> Text {
    match stanza.is_multi_arch_same() {
        true => render(msg!("{}:{}"), &[package, stanza.arch]),
        false => keep(package),
    }
}

/// Decides what changes.
#[inline(never)] // larger in the large frame of its caller
pub fn plan<'t>(situation: &Situation<'t, '_>) -> &'t mut Edit<'t> {
    let status = situation.status;
    let mut search = DependantSearch::new(situation);
    search.find_dependants();
    search.find_orphans();
    let edit = Box::leak(Box::<Edit<'_>>::default());
    edit.dependants = core::mem::take(&mut search.dependants);
    for &at in situation.plain {
        if search.roles[at] == Role::StandsIn {
            search.roles[at] = Role::Leaves;
        }
    }
    let mut goes = vec![false; status.all.len()];
    for (at, stanza) in status.all.iter().enumerate() {
        let stands_in = match search.roles[at] {
            Role::Absent | Role::Stays => continue,
            Role::StandsIn => true,
            Role::Leaves | Role::Returned => false,
        };
        match stood_in_for(stanza.package) {
            Some(_) if stands_in => continue,
            Some(_) => edit.dropped.push(stanza),
            None if stands_in => {
                let new = join(&[PREFIX, stanza.package], "");
                // dpkg keeps the stanza of one that somebody removed; two would be too many.
                for (old, stanza) in status.named(new) {
                    goes[old] |= !stanza.is_there();
                }
                let users = search.users(at);
                edit.stand_ins.push(stand_in(new, stanza, users));
            }
            None => {}
        }
        goes[at] = true;
    }
    edit.parts = status.without(&goes);
    edit
}

/// What becomes of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Its files are not there.
    Absent,
    /// It stays.
    Stays,
    /// It is to be forgotten, or is a stand-in that nobody needs.
    Leaves,
    /// It is to be forgotten and needs a stand-in, or is a stand-in that is needed.
    StandsIn,
    /// It is a stand-in whose package is there again, or is being forgotten anew.
    Returned,
}

/// Who needs whom. Everything is looked up, so that a machine that forgets all of its packages
/// takes no longer for each than one that forgets the first.
struct DependantSearch<'t, 'a> {
    situation: &'a Situation<'t, 'a>,
    roles: Vec<Role>,
    /// The names of what leaves.
    leaving: Catalog<'t>,
    /// For each of these entries, whether all packages of its name are marked already.
    is_marked: Vec<bool>,
    /// Dependants and where the name that each needs begins in `leaving`, sorted by dependant.
    needs: &'t [(usize, usize)],
    /// Packages that have come to stand in, whose own needs are to be followed.
    new: Vec<usize>,
    /// The names of automatically installed packages of which somebody who leaves is a user.
    held: Catalog<'t>,
    /// For each stanza, whether a held package has another user.
    is_wanted: Vec<bool>,
    dependants: Vec<(&'t [u8], &'t [u8])>,
}

impl<'t, 'a> DependantSearch<'t, 'a> {
    fn new(situation: &'a Situation<'t, 'a>) -> Self {
        let status = situation.status;
        let mut roles = Vec::with_capacity(status.all.len());
        for stanza in status.all {
            roles.push(match (stanza.is_there(), stood_in_for(stanza.package)) {
                (false, _) => Role::Absent,
                (true, None) => Role::Stays,
                (true, Some(name)) => {
                    let is_same =
                        |other: &Stanza<'_>| other.arch == stanza.arch && other.is_there();
                    match status.named(name).any(|(_, other)| is_same(other)) {
                        true => Role::Returned,
                        false => Role::Leaves,
                    }
                }
            });
        }
        for &at in situation.chosen {
            roles[at] = Role::Leaves;
        }
        DependantSearch {
            situation,
            roles,
            leaving: Catalog::default(),
            is_marked: Vec::new(),
            needs: &[],
            new: Vec::new(),
            held: Catalog::default(),
            is_wanted: Vec::new(),
            dependants: Vec::new(),
        }
    }

    fn stanza(&self, at: usize) -> &'t Stanza<'t> {
        &self.situation.status.all[at]
    }

    /// Positions of all packages of a role.
    fn all_of(&self, role: Role) -> List<usize> {
        let all = new_list();
        for (at, &other) in self.roles.iter().enumerate() {
            if other == role {
                all.push(at);
            }
        }
        all
    }

    /// Every package that leaves and on which somebody depends who stays, or who gets a stand-in:
    /// that keeps its package's dependencies.
    #[inline(never)] // larger in the large frame of its caller
    fn find_dependants(&mut self) {
        self.leaving = self.names_of(self.all_of(Role::Leaves));
        if self.leaving.entries().is_empty() {
            return;
        }
        self.is_marked = vec![false; self.leaving.entries().len()];
        let provided = self.provided();
        let needs = new_list();
        for (at, stanza) in self.situation.status.all.iter().enumerate() {
            if self.roles[at] != Role::Stays && self.roles[at] != Role::Leaves {
                continue;
            }
            for field in &[stanza.pre_depends, stanza.depends] {
                each_name(field, &mut |name| {
                    if let Some(first) = self.leaving.first(name) {
                        if !self.is_satisfied(group_of(field, name), &provided) {
                            needs.push((at, first));
                        }
                    }
                });
            }
        }
        self.needs = needs;
        for at in 0..self.needs.len() {
            if self.roles[self.needs[at].0] == Role::Stays {
                self.mark(at);
            }
        }
        self.follow_new();
    }

    /// The packages that stay and need one that leaves.
    fn users(&self, at: usize) -> &'t [&'t Stanza<'t>] {
        let users = new_list();
        let leaving = self.leaving.entries();
        for &(dependant, first) in self.needs {
            let mut all = leaving[first..].iter();
            let is_it =
                |entry: &CatalogEntry<'_>| entry.at == at && entry.name == leaving[first].name;
            if self.roles[dependant] == Role::Stays && all.any(is_it) {
                users.push(self.stanza(dependant));
            }
        }
        users
    }

    /// Marks every package that a need is about.
    fn mark(&mut self, need: usize) {
        let (dependant, first) = self.needs[need];
        if core::mem::replace(&mut self.is_marked[first], true) {
            return;
        }
        let named = self.leaving.entries()[first].name;
        let all = self.leaving.entries()[first..].iter();
        for entry in all.take_while(|entry| entry.name == named) {
            if self.roles[entry.at] == Role::Leaves {
                self.roles[entry.at] = Role::StandsIn;
                self.new.push(entry.at);
                let package = self.stanza(entry.at).package;
                let name = stood_in_for(package).unwrap_or(package);
                let dependant = self.stanza(dependant).package;
                self.dependants.push((name, dependant));
            }
        }
    }

    fn follow_new(&mut self) {
        while let Some(at) = self.new.pop() {
            self.note_wishes(at);
            let mut need = self.needs.partition_point(|need| need.0 < at);
            while self.needs.get(need).map_or(false, |need| need.0 == at) {
                self.mark(need);
                need += 1;
            }
        }
    }

    /// The names by which packages satisfy others; those of their stand-ins, if they get some.
    fn names_of(&self, packages: &[usize]) -> Catalog<'t> {
        let entries = new_list();
        for &at in packages {
            let stanza = self.stanza(at);
            entries.push(entry(stanza.package, at));
            each_provided(stanza, &mut |group| entries.push(entry(name_in(group), at)));
        }
        Catalog::new(entries)
    }

    /// What the packages that stay provide.
    fn provided(&self) -> Catalog<'t> {
        let entries = new_list();
        for &at in self.all_of(Role::Stays) {
            let provides = self.stanza(at).provides;
            each_name(provides, &mut |name| entries.push(entry(name, at)));
        }
        Catalog::new(entries)
    }

    /// Whether a package that stays satisfies a group, beyond doubt.
    fn is_satisfied(&self, group: &[u8], provided: &Catalog<'t>) -> bool {
        alternatives(group).any(|alternative| {
            let relation = relation(alternative);
            let names = &self.situation.status.names;
            let stays = |entry: &&CatalogEntry<'_>| self.roles[entry.at] == Role::Stays;
            let mut real = names.find(relation.name).iter().filter(stays);
            let mut others = provided.find(relation.name).iter();
            relation.qualifier.is_empty()
                && (real.any(|entry| relation.accepts(self.stanza(entry.at).field(VERSION)))
                    || others.any(|entry| provides(self.stanza(entry.at), &relation)))
        })
    }

    /// Every package that leaves and has a dependency that was installed automatically and that
    /// nobody else wants: apt would offer it for removal.
    #[inline(never)] // larger in the large frame of its caller
    fn find_orphans(&mut self) {
        let situation = self.situation;
        let wishes = new_list();
        for &at in self.all_of(Role::Leaves) {
            let stanza = self.stanza(at);
            let is_auto_itself = match stood_in_for(stanza.package) {
                None => is_auto(situation.marks, stanza.package, stanza.arch),
                Some(name) => (situation.was_auto)(name),
            };
            // What was installed automatically and has no dependant would have gone by itself.
            if is_auto_itself {
                continue;
            }
            for field in &[stanza.pre_depends, stanza.depends] {
                each_name(field, &mut |name| {
                    for (other, needed) in situation.status.named(name) {
                        if self.roles[other] == Role::Stays
                            && is_auto(situation.marks, name, needed.arch)
                        {
                            wishes.push((at, other));
                        }
                    }
                });
            }
        }
        if wishes.is_empty() {
            return;
        }
        let mut is_held = vec![false; self.roles.len()];
        let held = new_list();
        for &(_, other) in wishes.iter() {
            if !core::mem::replace(&mut is_held[other], true) {
                held.push(other);
            }
        }
        self.held = self.names_of(held);
        self.is_wanted = vec![false; self.roles.len()];
        for role in &[Role::Stays, Role::StandsIn] {
            for &at in self.all_of(*role) {
                self.note_wishes(at);
            }
        }
        for &mut (at, other) in wishes {
            if self.roles[at] == Role::Leaves && !self.is_wanted[other] {
                self.roles[at] = Role::StandsIn;
                self.new.push(at);
                self.follow_new();
            }
        }
    }

    /// Notes which held packages a package that stays wants, as apt counts it
    /// (apt-pkg/depcache.cc: recommended and suggested packages are kept by default).
    fn note_wishes(&mut self, at: usize) {
        if self.held.entries().is_empty() {
            return;
        }
        let stanza = self.stanza(at);
        let (recommended, suggested) = (stanza.field(b"Recommends"), stanza.field(b"Suggests"));
        for field in &[stanza.pre_depends, stanza.depends, recommended, suggested] {
            each_name(field, &mut |name| {
                for entry in self.held.find(name) {
                    self.is_wanted[entry.at] |= entry.at != at;
                }
            });
        }
    }
}

fn entry(name: &[u8], at: usize) -> CatalogEntry<'_> {
    let arch = b"";
    CatalogEntry { name, arch, at }
}

/// Whether a package's `Provides` satisfies a relation.
fn provides(stanza: &Stanza<'_>, relation: &Relation<'_>) -> bool {
    groups(stanza.provides).any(|group| {
        let provided = self::relation(group);
        provided.name == relation.name
            && (relation.operator.is_empty()
                || (provided.operator == b"=" && relation.accepts(provided.version)))
    })
}

/// The `Provides` that a stand-in takes over. A name that the package also conflicts with is an
/// exclusive one, and would keep the package itself from coming back.
fn each_provided<'t>(stanza: &Stanza<'t>, see: &mut dyn FnMut(&'t [u8])) {
    if stanza.provides.is_empty() {
        return;
    }
    let refused = [stanza.field(b"Conflicts"), stanza.field(b"Breaks")];
    for group in groups(stanza.provides) {
        let mut is_exclusive = false;
        for field in &refused {
            each_name(field, &mut |other| is_exclusive |= other == name_in(group));
        }
        if !is_exclusive {
            see(group);
        }
    }
}

/// The stanza that takes a package's place, for the sake of `users`, if there are some.
#[inline(never)] // larger in the large frame of its caller
fn stand_in(name: &[u8], stanza: &Stanza<'_>, users: &[&Stanza<'_>]) -> StandIn {
    const FIELDS: &[&[u8]] = &[
        b"Architecture",
        b"Multi-Arch",
        SOURCE,
        VERSION,
        PROVIDES,
        b"Pre-Depends",
        b"Depends",
        b"Recommends",
        b"Suggests",
    ];
    /// Where the relations begin that ask for other packages.
    const FIRST_NEED: usize = 5;
    let package = stanza.package;
    let provides = new_list();
    push_rendered(provides, b"{} (= {})", &[package, stanza.field(VERSION)]);
    each_provided(stanza, &mut |group| {
        push_rendered(provides, b", {}", &[group]);
    });
    let mut text = Vec::with_capacity(512);
    // Protected: no archive has it, and whoever purges what is obsolete would take its users along.
    let beginning = msg!(
        "Package: {}\nStatus: install ok installed\nPriority: optional\nProtected: yes\n\
        Section: kernel\nMaintainer: limopack <root@localhost>\n"
    );
    text.extend_from_slice(render(beginning, &[name]));
    for (at, &field) in FIELDS.iter().enumerate() {
        let mut value = stanza.field(field);
        // Scanners find a kernel's flaws by the source of its packages.
        if field == SOURCE && value.is_empty() {
            value = package;
        }
        if field == PROVIDES {
            value = provides;
        }
        if at >= FIRST_NEED {
            value = needs_of(value, users);
        }
        if !value.is_empty() {
            push_rendered(&mut text, b"{}: {}\n", &[field, value]);
        }
    }
    let description = msg!("Description: stands in for {}, whose modules limopack removed\n\n");
    text.extend_from_slice(render(description, &[package]));
    let (info_name, text) = (info_name(name, stanza), text.leak());
    StandIn { info_name, text }
}

/// What a stand-in needs of the relations of its package: each of any version, since an update of what
/// it needs must not be kept back for its sake; and nothing that all its users need themselves, since
/// one removal has to take what they brought along with them.
fn needs_of(relations: &[u8], users: &[&Stanza<'_>]) -> Text {
    let text = new_list();
    for group in groups(relations) {
        let name = name_in(group);
        let needs = |user: &&Stanza<'_>| {
            let mut is_needed = false;
            for field in [user.pre_depends, user.depends] {
                each_name(field, &mut |other| is_needed |= other == name);
            }
            is_needed
        };
        let is_alone = alternatives(group).nth(1).is_none();
        if is_alone && !users.is_empty() && users.iter().all(needs) {
            continue;
        }
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        push_unversioned(text, group);
    }
    text
}

/// Adds relations without their versions.
fn push_unversioned(text: &mut Vec<u8>, relations: &[u8]) {
    let mut rest = relations;
    while !rest.is_empty() {
        let (mut names, versioned) = split_at_byte(rest, b'(');
        // A line of its own may be a version's alone.
        while let [before @ .., b' ' | b'\t' | b'\n'] = names {
            names = before;
        }
        text.extend_from_slice(names);
        rest = split_at_byte(versioned, b')').1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::stanza::parse;

    fn status(packages: &[&str]) -> String {
        let stanza = |fields: &&str| {
            let (name, more) = fields.split_once(';').unwrap_or((fields, ""));
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: armhf\nVersion: 1.0\n{}\n",
                more.replace(';', "\n") + if more.is_empty() { "" } else { "\n" }
            )
        };
        packages.iter().map(stanza).collect()
    }

    #[test]
    fn a_stand_in_needs_what_its_package_needed_in_any_version() {
        let fields =
            "k;Depends: a (= 1), b:any (>> 2~) | c(<< 3),\n d;Pre-Depends: e (= 1);Suggests: f";
        let (left, _) = forgotten(&status(&["x;Depends: k", fields]), "k", &[]);
        assert!(
            left.contains("Pre-Depends: e\nDepends: a, b:any | c, d\nSuggests: f\n"),
            "{left}"
        );
        assert!(left.contains("Provides: k (= 1.0)\n"));
    }

    /// Story: on Debian 14 linux-base-VERSION stayed when the kernel was removed, which needed it itself.
    #[test]
    fn a_stand_in_does_not_need_what_all_its_users_need() {
        let base = "k;Depends: kmod, base (= 1)";
        let (left, _) = forgotten(&status(&["x;Depends: k, base (= 1)", base]), "k", &[]);
        assert!(left.contains("\nDepends: kmod\n"), "{left}");
        let users = ["x;Depends: k, base (= 1)", "y;Depends: k", base];
        let (left, _) = forgotten(&status(&users), "k", &[]);
        assert!(left.contains("\nDepends: kmod, base\n"), "{left}");
        let only = ["x;Depends: k;Pre-Depends: base", "k;Depends: base"];
        let (left, _) = forgotten(&status(&only), "k", &[]);
        assert!(
            !left[left.find("limopack-stand-in").unwrap()..].contains("Depends"),
            "{left}"
        );
    }

    /// Forgets `name` and returns the file that is left, and the dependants found.
    fn forgotten(text: &str, name: &str, auto: &[&str]) -> (String, Vec<String>) {
        let status = parse(text.as_bytes(), b"f").unwrap();
        let states: String = (auto.iter())
            .map(|name| format!("Package: {name}\nArchitecture: armhf\nAuto-Installed: 1\n\n"))
            .collect();
        let states = states.leak().as_bytes();
        let chosen: Vec<usize> = status.named(name.as_bytes()).map(|(at, _)| at).collect();
        let edit = plan(&Situation {
            status,
            chosen: &chosen,
            marks: parse(states, b"s").unwrap(),
            was_auto: &|_| false,
            plain: &[],
        });
        let mut left = edit.parts.concat();
        edit.stand_ins
            .iter()
            .for_each(|new| left.extend_from_slice(new.text));
        let dependants = edit.dependants.iter();
        let dependants = dependants.map(|(_, who)| String::from_utf8(who.to_vec()).unwrap());
        (String::from_utf8(left).unwrap(), dependants.collect())
    }

    #[test]
    fn without_dependants_nothing_but_the_stanza_goes() {
        let (a, k, b) = (status(&["a"]), status(&["k;Provides: v"]), status(&["b"]));
        let (left, dependants) = forgotten(&[&a[..], &k, &b].concat(), "k", &[]);
        assert_eq!(left, [a, b].concat());
        assert!(dependants.is_empty());
    }

    #[test]
    fn a_dependant_gets_a_stand_in_of_the_same_version() {
        for depends in [
            "Depends: k",
            "Pre-Depends: x | k (= 1.0)",
            "Depends: c,\n v:any",
            "depends: k (>= 0.9)",
        ] {
            let text = status(&[&format!("a;{depends}"), "k;Provides: v;Depends: kmod"]);
            let (left, dependants) = forgotten(&text, "k", &[]);
            assert_eq!(dependants, ["a"], "{depends}");
            assert!(left.contains("Package: limopack-stand-in-k\nStatus: install ok installed\n"));
            assert!(left.contains("Provides: k (= 1.0), v\nDepends: kmod\n"));
            assert!(left.contains("Version: 1.0\n") && !left.contains("Package: k\n"));
            parse(left.as_bytes(), b"f").unwrap();
        }
    }

    #[test]
    fn a_stand_in_has_the_source_of_its_package() {
        for (fields, source) in [
            ("k", "k"),
            ("k;Source: linux", "linux"),
            ("k;Source: linux-signed (1.0+1)", "linux-signed (1.0+1)"),
        ] {
            let (left, _) = forgotten(&status(&["a;Depends: k", fields]), "k", &[]);
            assert!(left.contains(&format!("\nSource: {source}\n")), "{left}");
        }
    }

    #[test]
    fn a_dependant_that_another_satisfies_needs_none() {
        for other in ["other", "x;Provides: other", "x;Provides: other (= 2)"] {
            let text = status(&["a;Depends: k | other", "k", other]);
            assert!(forgotten(&text, "k", &[]).1.is_empty(), "{other}");
        }
        let text = status(&["a;Depends: k | other (>= 2)", "k", "other"]);
        assert_eq!(forgotten(&text, "k", &[]).1, ["a"]);
        let gone = status(&["k"]) + "Package: a\nStatus: deinstall ok config-files\nDepends: k\n\n";
        assert!(forgotten(&gone, "k", &[]).1.is_empty());
    }

    #[test]
    fn dependencies_that_would_be_autoremoved_are_held() {
        let text = status(&[
            "k;Depends: kmod, base",
            "kmod",
            "base",
            "b;Recommends: base",
        ]);
        assert!(forgotten(&text, "k", &["kmod"])
            .0
            .contains("limopack-stand-in-k"));
        assert!(!forgotten(&text, "k", &[]).0.contains("limopack-stand-in-k"));
        assert!(!forgotten(&text, "k", &["base"])
            .0
            .contains("limopack-stand-in-k"));
        assert!(!forgotten(&text, "k", &["kmod", "k"])
            .0
            .contains("limopack-stand-in-k"));
    }

    #[test]
    fn a_stand_in_that_somebody_removed_is_replaced() {
        for state in ["purge ok not-installed", "deinstall ok config-files"] {
            let removed = format!("Package: limopack-stand-in-k\nStatus: {state}\n\n");
            let text = removed + &status(&["a;Depends: k", "k"]);
            let (new, _) = forgotten(&text, "k", &[]);
            assert_eq!(new.matches("Package: limopack-stand-in-k\n").count(), 1);
            assert!(!new.contains(state));
        }
    }

    #[test]
    fn a_stand_in_goes_when_the_package_is_back_or_nobody_needs_it() {
        let (with, _) = forgotten(&status(&["a;Depends: k", "k"]), "k", &[]);
        assert_eq!(forgotten(&with, "", &[]).0, with);
        let back = with.clone() + &status(&["k"]);
        assert!(!forgotten(&back, "", &[]).0.contains("limopack-stand-in-k"));
        let unneeded = with.replace("Depends: k", "Depends: x");
        assert!(!forgotten(&unneeded, "", &[])
            .0
            .contains("limopack-stand-in-k"));
        let again = forgotten(&back, "k", &[]).0;
        assert_eq!(again.matches("Package: limopack-stand-in-k").count(), 1);
        assert!(!again.contains("Package: k\n"));
    }
}
