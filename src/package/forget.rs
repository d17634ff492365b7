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

use crate::format::{fill, keep, push_filled, Text};
use crate::package::relation::{alternatives, groups, relations, Relation};
use crate::text::stanza::{position, Stanza};
use crate::text::{find, split_at_byte};

/// What the names of stand-ins begin with.
pub const PREFIX: &[u8] = b"limopack-stand-in-";

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
    /// The whole file.
    pub text: &'t [u8],
    /// Its stanzas.
    pub stanzas: &'a [Stanza<'t>],
    /// Positions of the stanzas to forget.
    pub doomed: &'a [usize],
    /// The stanzas of apt's extended_states.
    pub states: &'a [Stanza<'t>],
    /// Whether a package for which a stand-in is there was installed automatically.
    pub was_auto: &'a dyn Fn(&[u8]) -> bool,
    /// Positions of packages that get no stand-in, and of stand-ins that go although needed.
    pub plain: &'a [usize],
}

/// A stand-in that comes.
pub struct StandIn {
    /// Its name in `info/`: with `:arch` where several architectures can be there together.
    pub stem: Text,
    /// Its stanza.
    pub text: Vec<u8>,
}

/// What changes.
pub struct Edit<'t> {
    /// The new file.
    pub parts: Vec<&'t [u8]>,
    /// Stanzas that come at its end.
    pub stand_ins: Vec<StandIn>,
    /// Stand-ins that go, because the real package is back or nobody needs them.
    pub dropped: Vec<Stanza<'t>>,
    /// Forgotten packages and who depends on them.
    pub dependants: Vec<(&'t [u8], &'t [u8])>,
}

impl Edit<'_> {
    /// Whether nothing changes.
    pub fn is_empty(&self, text: &[u8]) -> bool {
        self.stand_ins.is_empty()
            && self.parts.iter().map(|part| part.len()).sum::<usize>() == text.len()
    }
}

/// Whether a package has its own automatic mark in apt's extended_states, which names the
/// native architecture for packages of all.
pub fn is_auto(states: &[Stanza<'_>], package: &[u8], arch: &[u8]) -> bool {
    states
        .iter()
        .any(|state| is_state_of(state, package, arch) && state.field(b"Auto-Installed") == b"1")
}

/// Whether a stanza of extended_states is a package's.
pub fn is_state_of(state: &Stanza<'_>, package: &[u8], arch: &[u8]) -> bool {
    state.package == package && (state.arch == arch || arch == b"all" || arch.is_empty())
}

/// The real package behind a stand-in's name.
pub fn subject(package: &[u8]) -> Option<&[u8]> {
    package.strip_prefix(PREFIX)
}

/// The `info/` stem of a package.
pub fn stem(package: &[u8], stanza: &Stanza<'_>) -> Text {
    match stanza.is_multi_arch_same() {
        true => fill("{}:{}", &[package, stanza.arch]),
        false => keep(package),
    }
}

/// Decides what changes.
pub fn plan<'t>(situation: &Situation<'t, '_>) -> Edit<'t> {
    let stanzas = situation.stanzas;
    let mut judge = Judge::new(situation);
    judge.decide();
    let mut edit = Edit {
        parts: Vec::new(),
        stand_ins: Vec::new(),
        dropped: Vec::new(),
        dependants: judge.dependants,
    };
    let mut goes = vec![false; stanzas.len()];
    for &candidate in &judge.candidates {
        let stanza = &stanzas[candidate];
        let is_needed = judge.is_needed[candidate] && !situation.plain.contains(&candidate);
        match subject(stanza.package) {
            Some(_) if is_needed => {}
            Some(_) => {
                goes[candidate] = true;
                edit.dropped.push(*stanza);
            }
            None => {
                goes[candidate] = true;
                if is_needed {
                    edit.stand_ins.push(stand_in(stanza));
                }
            }
        }
    }
    // dpkg keeps the stanza of a stand-in that somebody removed; a second one would be too many.
    for (stanza, goes) in stanzas.iter().zip(&mut goes) {
        let is_same = |new: &StandIn| split_at_byte(new.stem, b':').0 == stanza.package;
        *goes |= !stanza.is_there() && edit.stand_ins.iter().any(is_same);
    }
    // Neighbours that stay are one part; what is before the first stanza stays, too.
    let mut start = 0;
    for (stanza, _) in stanzas.iter().zip(&goes).filter(|(_, goes)| **goes) {
        let at = position(situation.text, stanza.text);
        edit.parts.push(&situation.text[start..at]);
        start = at + stanza.text.len();
    }
    edit.parts.push(&situation.text[start..]);
    edit.parts.retain(|part| !part.is_empty());
    edit
}

/// Who needs what.
struct Judge<'t, 'a> {
    situation: &'a Situation<'t, 'a>,
    /// Positions of the packages to forget and of the stand-ins that are there.
    candidates: Vec<usize>,
    /// For each stanza, whether its package is there and no candidate.
    stays: Vec<bool>,
    /// For each stanza, whether it is a candidate that is needed.
    is_needed: Vec<bool>,
    dependants: Vec<(&'t [u8], &'t [u8])>,
}

impl<'t, 'a> Judge<'t, 'a> {
    fn new(situation: &'a Situation<'t, 'a>) -> Self {
        let stanzas = situation.stanzas;
        let mut stays: Vec<bool> = stanzas.iter().map(Stanza::is_there).collect();
        let mut candidates = situation.doomed.to_vec();
        for (at, stanza) in stanzas.iter().enumerate() {
            let is_old = stanza.is_there() && subject(stanza.package).is_some();
            if is_old && !candidates.contains(&at) {
                candidates.push(at);
            }
        }
        for &candidate in &candidates {
            stays[candidate] = false;
        }
        Judge {
            situation,
            candidates,
            stays,
            is_needed: vec![false; stanzas.len()],
            dependants: Vec::new(),
        }
    }

    /// A stand-in keeps its package's dependencies, so needing one can need another.
    fn decide(&mut self) {
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for candidate in self.candidates.clone() {
                if !self.is_needed[candidate] && self.needs_stand_in(candidate) {
                    self.is_needed[candidate] = true;
                    has_changed = true;
                }
            }
        }
    }

    fn needs_stand_in(&mut self, candidate: usize) -> bool {
        let stanza = &self.situation.stanzas[candidate];
        let name = match subject(stanza.package) {
            None => stanza.package,
            Some(name) => {
                let same = |other: &Stanza<'_>| other.package == name && other.arch == stanza.arch;
                // The real package is back, or is being forgotten once more and judged itself.
                if self
                    .situation
                    .stanzas
                    .iter()
                    .any(|other| same(other) && other.is_there())
                {
                    return false;
                }
                name
            }
        };
        if let Some(dependant) = self.dependant(candidate, &names(stanza)) {
            self.dependants.push((name, dependant));
            return true;
        }
        let is_auto = match subject(stanza.package) {
            None => is_auto(self.situation.states, name, stanza.arch),
            Some(name) => (self.situation.was_auto)(name),
        };
        // What was installed automatically and has no dependant would have gone by itself.
        !is_auto && self.holds_orphans(candidate)
    }

    /// Packages that stay, or get a stand-in with the same dependencies.
    fn standing(&self) -> impl Iterator<Item = (usize, &'a Stanza<'t>)> + '_ {
        let stanzas = self.situation.stanzas.iter().enumerate();
        stanzas.filter(|(at, _)| self.stays[*at] || self.is_needed[*at])
    }

    /// A package that depends on one of `names` in a way that nobody else satisfies.
    fn dependant(&self, candidate: usize, names: &[&[u8]]) -> Option<&'t [u8]> {
        let depends = |stanza: &Stanza<'_>| {
            names.iter().any(|name| find(stanza.text, name).is_some())
                && [&b"Pre-Depends"[..], b"Depends"].iter().any(|field| {
                    groups(stanza.field(field)).into_iter().any(|group| {
                        let relations = alternatives(group);
                        let is_named = |relation: &Relation<'_>| names.contains(&relation.name);
                        relations.iter().any(is_named)
                            && !relations.iter().any(|relation| self.is_satisfied(relation))
                    })
                })
        };
        let mut standing = self.standing().filter(|(at, _)| *at != candidate);
        standing
            .find(|(_, stanza)| depends(stanza))
            .map(|(_, stanza)| stanza.package)
    }

    /// Whether a package that stays satisfies a relation, beyond doubt.
    fn is_satisfied(&self, relation: &Relation<'_>) -> bool {
        if !relation.qualifier.is_empty() {
            return false;
        }
        let mut staying = self
            .situation
            .stanzas
            .iter()
            .zip(&self.stays)
            .filter(|(_, stays)| **stays);
        staying.any(|(stanza, _)| {
            if stanza.package == relation.name {
                return relation.accepts(stanza.field(b"Version"));
            }
            find(stanza.text, relation.name).is_some()
                && relations(&[stanza.field(b"Provides")])
                    .iter()
                    .any(|provided| {
                        provided.name == relation.name
                            && (relation.operator.is_empty()
                                || (provided.operator == b"="
                                    && relation.accepts(provided.version)))
                    })
        })
    }

    /// Whether a dependency that was installed automatically has nobody else who wants it.
    fn holds_orphans(&self, candidate: usize) -> bool {
        let stanza = &self.situation.stanzas[candidate];
        let needs = relations(&[stanza.field(b"Pre-Depends"), stanza.field(b"Depends")]);
        needs.iter().any(|relation| {
            let mut found = self
                .standing()
                .filter(|(_, other)| other.package == relation.name);
            found.any(|(at, other)| {
                is_auto(self.situation.states, other.package, other.arch)
                    && !self.is_wanted(at, candidate, &names(other))
            })
        })
    }

    /// Whether a standing package other than these two wants one of `names`, as apt counts it
    /// (apt-pkg/depcache.cc: recommended and suggested packages are kept by default).
    fn is_wanted(&self, own: usize, candidate: usize, names: &[&[u8]]) -> bool {
        const WANTING: [&[u8]; 4] = [b"Pre-Depends", b"Depends", b"Recommends", b"Suggests"];
        let mut others = self
            .standing()
            .filter(|(at, _)| *at != own && *at != candidate);
        others.any(|(_, stanza)| {
            names.iter().any(|name| find(stanza.text, name).is_some())
                && relations(&WANTING.map(|field| stanza.field(field)))
                    .iter()
                    .any(|relation| names.contains(&relation.name))
        })
    }
}

/// The names by which a package satisfies others; those of its stand-in, if it gets one.
fn names<'t>(stanza: &Stanza<'t>) -> Vec<&'t [u8]> {
    let mut names: Vec<&[u8]> = vec![stanza.package];
    names.extend(provided(stanza).into_iter().map(relation_name));
    names
}

/// The `Provides` that a stand-in takes over. A name that the package also conflicts with is an
/// exclusive one, and would keep the package itself from coming back.
fn provided<'t>(stanza: &Stanza<'t>) -> Vec<&'t [u8]> {
    let refused = relations(&[stanza.field(b"Conflicts"), stanza.field(b"Breaks")]);
    let mut provided = groups(stanza.field(b"Provides"));
    provided.retain(|group| {
        let name = relation_name(group);
        refused.iter().all(|relation| relation.name != name)
    });
    provided
}

fn relation_name(group: &[u8]) -> &[u8] {
    alternatives(group)
        .first()
        .map_or(b"", |relation| relation.name)
}

/// The stanza that takes a package's place.
fn stand_in(stanza: &Stanza<'_>) -> StandIn {
    let name = [PREFIX, stanza.package].concat();
    let version = stanza.field(b"Version");
    let mut text = Vec::with_capacity(512);
    let mut line = |field: &[u8], parts: &[&[u8]]| {
        let value = parts.concat();
        if !value.is_empty() {
            text.extend_from_slice(fill("{}: {}\n", &[field, &value]));
        }
    };
    line(b"Package", &[&name]);
    line(b"Status", &[b"install ok installed"]);
    line(b"Priority", &[b"optional"]);
    line(b"Section", &[b"kernel"]);
    line(b"Maintainer", &[b"limopack <root@localhost>"]);
    line(b"Architecture", &[stanza.arch]);
    line(b"Multi-Arch", &[stanza.field(b"Multi-Arch")]);
    line(b"Version", &[version]);
    let mut provides = Vec::new();
    push_filled(&mut provides, "{} (= {})", &[stanza.package, version]);
    for group in provided(stanza) {
        provides.extend_from_slice(b", ");
        provides.extend_from_slice(group);
    }
    line(b"Provides", &[&provides]);
    for field in [&b"Pre-Depends"[..], b"Depends", b"Recommends", b"Suggests"] {
        line(field, &[stanza.field(field)]);
    }
    let package = stanza.package;
    line(
        b"Description",
        &[
            b"stands in for ",
            package,
            b", whose modules limopack removed",
        ],
    );
    text.push(b'\n');
    StandIn {
        stem: stem(&name, stanza),
        text,
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

    /// Forgets `name` and gives the file that is left, and the dependants found.
    fn forgotten(text: &str, name: &str, auto: &[&str]) -> (String, Vec<String>) {
        let stanzas = parse(text.as_bytes(), b"f").unwrap();
        let states: String = (auto.iter())
            .map(|name| format!("Package: {name}\nArchitecture: armhf\nAuto-Installed: 1\n\n"))
            .collect();
        let states = states.leak().as_bytes();
        let states = parse(states, b"s").unwrap();
        let doomed: Vec<usize> = (0..stanzas.len())
            .filter(|&at| stanzas[at].package == name.as_bytes())
            .collect();
        let edit = plan(&Situation {
            text: text.as_bytes(),
            stanzas: &stanzas,
            doomed: &doomed,
            states: &states,
            was_auto: &|_| false,
            plain: &[],
        });
        let mut left = edit.parts.concat();
        edit.stand_ins
            .iter()
            .for_each(|new| left.extend_from_slice(&new.text));
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
