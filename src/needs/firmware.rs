//! Which files below `lib/firmware` modules may ask for.
//!
//! A module says in records (`firmware=NAME`, a glob now and then) what it asks for; `modinfo`, which
//! every system with modules has, reads them, compressed modules too. What is built in says it in
//! modules.builtin.modinfo, a board's tree in its properties `firmware-name`. What nobody says is in
//! the table of hidden needs.
//!
//! A name is found as the kernel does: in `updates/` and in a directory of the kernel's version as well,
//! and with `.zst` or `.xz` after it (linux: drivers/base/firmware_loader/main.c). Every link on the
//! way is needed, and so is what it leads to.

use crate::error::{Answer, Error, Result};
use crate::format::{join, new_list, render, List, Text};
use crate::needs::rules::{Rule, Rules};
use crate::needs::{hidden, Kernel};
use crate::system::root::MOST_LINKS;
use crate::system::tree::{walk, Fate, Leaf, LeafKind, Scope, Sizes};
use crate::system::{resolved, split_last, Folder, Report, Root};
use crate::template::Template;
use crate::text::alias::{matches, normalise};
use crate::text::modinfo::records;
use crate::text::modprobe::firmware;
use crate::text::name::ModulePath;
use crate::text::{bare_lines, find_word, last_part, positions, sort_once, until, words};
use std::cell::Cell;

/// Where it lies.
pub const PLACE: &[u8] = b"lib/firmware";

/// What the kernel itself and remote processors ask for without a module that says so; what boot loaders
/// read there; and what an administrator has put in place of another file.
const ALWAYS: Template = msg!("updates *-ucode regulatory.db* rproc-* *.dtbo raspberrypi");

/// Who asks for what no module does.
const KERNEL: &[u8] = b"the kernel";

/// What says where the kernel looks first.
const FIRST: Template = msg!("sys/module/firmware_class/parameters/path");

/// The directory of a board's tree.
const BOARD: &[u8] = b"sys/firmware/devicetree/base";

/// What is asked for.
pub struct Demand<'r> {
    root: &'r Root,
    names: &'r mut Vec<&'static Asked>,
    /// What is known of names that no record has.
    known: Text,
}

/// A name that is asked for.
pub struct Asked {
    /// Relative to `lib/firmware`; a pattern, or a directory of which everything is meant.
    pub name: Text,
    /// Who asks: a module's file, or a phrase.
    pub by: Text,
    /// Whether a record says so. What a table says may be there or not.
    pub is_record: bool,
    /// Whether something is there that it means.
    pub is_found: Cell<bool>,
    /// How many links led to it.
    links: usize,
}

/// A file, or a link, in place or parked.
pub struct Entry {
    /// Its path, relative to `lib/firmware`.
    pub path: Text,
    /// Whether it is asked for, and who does so first.
    pub by: Option<Text>,
    /// The name by which the kernel asks for it, normalised.
    name: Text,
    /// Where it leads.
    target: Option<Text>,
    is_parked: bool,
}

/// What a demand leads to.
pub struct Supply<'d> {
    /// All that is there, in place and parked.
    pub entries: &'static mut Vec<Entry>,
    /// All that is asked for.
    pub names: &'d Vec<&'static Asked>,
}

impl<'r> Demand<'r> {
    /// Nothing yet, of what is below a root.
    pub fn new(root: &'r Root) -> &'r mut Demand<'r> {
        Box::leak(Box::new(Demand {
            root,
            names: new_list(),
            known: hidden::firmware(),
        }))
    }

    /// Adds what may be there.
    fn add(&mut self, name: Text, by: Text) {
        self.push(name, by, false, 0);
    }

    /// Adds what a record says.
    fn add_record(&mut self, name: Text, by: Text) {
        self.push(name, by, true, 0);
    }

    fn push(&mut self, name: Text, by: Text, is_record: bool, links: usize) {
        self.names.push(Box::leak(Box::new(Asked {
            name,
            by,
            is_record,
            is_found: Cell::new(false),
            links,
        })));
    }

    /// Adds what modules of a kernel ask for, by their paths, in a directory: the kernel's, as a rule.
    ///
    /// # Errors
    /// One of them cannot be read, or there is no `modinfo`.
    pub fn add_modules(
        &mut self,
        kernel: &Kernel<'_>,
        folder: &Folder,
        modules: &[Text],
    ) -> Result<()> {
        // In a directory of its version are files for this kernel alone.
        self.add(kernel.version(), kernel.version());
        let rules = kernel.rules()?;
        for path in modules {
            self.add_hidden(rules, ModulePath(path))?;
        }
        let text = kernel.modinfo(folder, modules)?;
        // That each of them has the record which is its last one is what shows that all were read.
        if self.add_records(text) != modules.len() {
            let what = msg!("kernel {}: modinfo could not read every module");
            return Err(Error::refused(what, &[kernel.version()]));
        }
        Ok(())
    }

    /// Adds what `modinfo` has printed, and gives the number of modules.
    fn add_records(&mut self, text: Text) -> usize {
        let (mut module, mut count): (Text, usize) = (b"", 0);
        for (name, value) in records(text) {
            match find_word(b"filename firmware vermagic", name) {
                Some(0) => module = last_part(value),
                Some(1) => self.add_record(value, module),
                Some(_) => count += 1,
                None => {}
            }
        }
        count
    }

    fn add_hidden(&mut self, rules: &Rules, path: ModulePath<'static>) -> Result<()> {
        let (name, by) = (path.name().to_kernel(), path.file_name());
        for row in hidden::table_rows(self.known) {
            if find_word(row.modules, name).is_some() {
                words(row.targets).for_each(|name| self.add(name, by));
            }
        }
        rules.of(path, path.hash(), &mut |rule: &Rule| {
            firmware(rule.targets).for_each(|name| self.add(name, by));
            Ok(())
        })
    }

    /// Adds what is asked for whatever modules there are: by what is built into a kernel, by the board's
    /// tree, and by nobody who says so.
    ///
    /// # Errors
    /// A file cannot be read.
    #[inline(never)] // larger in the large frame of its caller
    pub fn add_builtin(&mut self, kernel: &Kernel<'_>) -> Result<()> {
        let rules = kernel.rules()?;
        for path in bare_lines(kernel.builtin()?.text()) {
            self.add_hidden(rules, ModulePath(path))?;
        }
        let records = kernel.file_or_empty(b"modules.builtin.modinfo")?;
        for equals in positions(records, b'=') {
            if records[..equals].ends_with(b".firmware") {
                self.add_record(until(&records[equals + 1..], 0), KERNEL);
            }
        }
        for name in words(ALWAYS.text()) {
            self.add(name, KERNEL);
        }
        // Where the kernel looks first, by its own name for it.
        let first = self.root.text_or_empty(FIRST.text())?;
        if let Some(name) = until(first, b'\n').strip_prefix(b"/").and_then(inside) {
            self.add(name, KERNEL);
        }
        if let Some(board) = Folder::open(self.root, BOARD)? {
            let mut add = |leaf: &Leaf<'_>| {
                if leaf.name == b"firmware-name" {
                    let text = board.text_or_empty(leaf.path())?;
                    for name in text.split(|&byte| byte == 0) {
                        self.add_record(name, b"the board");
                    }
                }
                Ok(Fate::Stays)
            };
            walk(&board, Scope::AnyFile, Sizes::Unwanted, &mut add)?;
        }
        Ok(())
    }

    /// The files and links that are there, in place and in the directory `park`: they lead to each
    /// other. With `-d`, what a record asks for and is not there is said.
    ///
    /// # Errors
    /// A directory cannot be read.
    #[inline(never)] // larger in the large frame of its caller
    pub fn supply(&'r mut self, report: &Report, park: Text) -> Result<&'r Supply<'r>> {
        let entries = new_list();
        for place in [PLACE, park] {
            add_entries(entries, self.root, place, report)?;
        }
        let mut at = 0;
        while at < self.names.len() {
            let asked = self.names[at];
            at += 1;
            for entry in entries.iter_mut() {
                let Some(rest) = entry.rest(asked.name) else {
                    continue;
                };
                let target = entry.target.filter(|_| asked.links < MOST_LINKS);
                let leads = target.and_then(|target| follow(self.root, entry.path, target));
                // On the way is only what leads to a directory.
                if !(rest.is_empty() || entry.is_parked) {
                    let directory = join(&[PLACE, leads.unwrap_or(entry.path), b"."], "/");
                    if !self.root.has(directory).map_or(false, Answer::is_yes) {
                        continue;
                    }
                }
                asked.is_found.set(true);
                entry.by = entry.by.or(Some(asked.by));
                if let Some(leads) = leads {
                    let name = join(&[plain(leads), rest], "");
                    if !self.names.iter().any(|asked| asked.name == name) {
                        self.push(name, asked.by, false, asked.links + 1);
                    }
                }
            }
            if asked.is_record && !asked.is_found.get() {
                report.debug(msg!("no firmware {} for {}"), &[asked.name, asked.by]);
            }
        }
        Ok(Box::leak(Box::new(Supply {
            entries,
            names: self.names,
        })))
    }
}

impl Supply<'_> {
    /// What is asked for of what is in place, or of what is parked, sorted.
    pub fn needed(&self, is_parked: bool) -> List<Text> {
        let is_it = |entry: &&Entry| entry.by.is_some() && entry.is_parked == is_parked;
        let needed = self.entries.iter().filter(is_it);
        let paths = new_list();
        paths.extend(needed.map(|entry| entry.path));
        sort_once(paths);
        paths
    }
}

/// Adds all that is in place, or parked.
fn add_entries(entries: &mut Vec<Entry>, root: &Root, place: Text, report: &Report) -> Result<()> {
    let Some(folder) = Folder::open(root, place)? else {
        return Ok(());
    };
    let mut add = |leaf: &Leaf<'_>| {
        let path = leaf.path();
        let mut name = plain(path).to_vec();
        normalise(&mut name);
        entries.push(Entry {
            path,
            name: name.leak(),
            target: match leaf.kind {
                LeafKind::File => None,
                LeafKind::Link => root.link(render(msg!("{}/{}"), &[place, path])),
            },
            by: None,
            is_parked: place != PLACE,
        });
        Ok(Fate::Stays)
    };
    walk(&folder, Scope::AnyFile, Sizes::Unwanted, &mut add)?.warn_of_mounts(report);
    Ok(())
}

impl Entry {
    /// Whether a name means this or what is below, and what comes after it in the name.
    pub fn rest<'n>(&self, name: &'n [u8]) -> Option<&'n [u8]> {
        let (start, rest) = name.split_at(start_length(name, self.name));
        let own = &self.name[..start_length(self.name, name)];
        let is_way = rest.is_empty() || self.target.is_some();
        (is_way && matches(start, own)).then_some(rest)
    }
}

/// The length of as many components of a path as another one has; all, where it has fewer.
fn start_length(path: &[u8], like: &[u8]) -> usize {
    let count = positions(like, b'/').count();
    positions(path, b'/').nth(count).unwrap_or(path.len())
}

/// A name without the suffix of a compressed file.
fn plain(path: &[u8]) -> &[u8] {
    let stem = path.strip_suffix(b".zst");
    stem.or_else(|| path.strip_suffix(b".xz")).unwrap_or(path)
}

/// A file of it, relative to the root.
pub fn firmware_file(path: &[u8]) -> Text {
    render(msg!("{}/{}"), &[PLACE, path])
}

/// What follows `lib/firmware/` in a path below the root.
pub fn inside(path: &[u8]) -> Option<&[u8]> {
    let path = path.strip_prefix(b"usr/").unwrap_or(path);
    path.strip_prefix(PLACE)?.strip_prefix(b"/")
}

/// Where a link below `lib/firmware` leads, relative to that; by way of links elsewhere, as
/// alternatives are. `None` if it leads out of it.
fn follow(root: &Root, path: Text, mut target: Text) -> Option<Text> {
    let mut path = firmware_file(path);
    for _ in 0..MOST_LINKS {
        path = resolved(split_last(path).0, target);
        if let Some(inside) = inside(path) {
            return Some(inside);
        }
        target = root.link(path)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::report::Volume;
    use crate::system::scratch::Scratch;

    /// What is needed of these files and links (`NAME`, or `NAME TARGET`) if these names are asked for.
    fn needed(files: &[&str], asked: &[&'static str]) -> Vec<String> {
        let scratch = Scratch::new("firmware");
        for file in files {
            match file.split_once(' ') {
                Some((path, target)) => scratch.link(&format!("lib/firmware/{path}"), target),
                None => scratch.write(&format!("lib/firmware/{file}"), "x"),
            }
        }
        let root = scratch.root();
        let demand = Demand::new(&root);
        for name in asked {
            demand.add(name.as_bytes(), b"m");
        }
        let files = demand.supply(&Report::new(Volume::Quiet), b"none");
        let files = files.unwrap().needed(false).iter();
        files
            .map(|path| String::from_utf8(path.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_file_has_the_name_plain_or_compressed() {
        let files = [
            "a.bin",
            "a.bin.xz",
            "a.bin.zst",
            "a.bin.gz",
            "b/a.bin",
            "a_bin",
        ];
        let wanted = ["a.bin", "a.bin.xz", "a.bin.zst"];
        assert_eq!(needed(&files, &["a.bin"]), wanted);
        assert_eq!(needed(&files, &["b/a.bin", "c", ""]), ["b/a.bin"]);
    }

    #[test]
    fn a_pattern_is_of_one_directory_and_a_directory_is_all_of_it() {
        let files = ["x/a-1.bin.xz", "x/a-2.txt", "x/y/a-3.bin", "x/b", "x1"];
        assert_eq!(needed(&files, &["x/a-*.bin"]), ["x/a-1.bin.xz"]);
        assert_eq!(needed(&files, &["x/?"]), ["x/b", "x/y/a-3.bin"]);
        let all = ["x/a-1.bin.xz", "x/a-2.txt", "x/b", "x/y/a-3.bin"];
        assert_eq!(needed(&files, &["x"]), all);
        assert_eq!(needed(&files, &["*/a-[12].*"]), all[..2]);
    }

    #[test]
    fn every_link_on_the_way_is_needed_and_what_it_leads_to() {
        let files = [
            "a b.bin",
            "b.bin.xz c/d/../d.bin.xz",
            "c/d.bin.xz",
            "e/old ../c",
            "c/new.bin",
            "c/f /lib/firmware/g/h",
            "g/h",
            "i /usr/lib/firmware/g",
            "unused c/d.bin.xz",
        ];
        let files = &files;
        assert_eq!(needed(files, &["a"]), ["a", "b.bin.xz", "c/d.bin.xz"]);
        assert_eq!(needed(files, &["e/old/new.bin"]), ["c/new.bin", "e/old"]);
        assert_eq!(needed(files, &["e/*/f"]), ["c/f", "e/old", "g/h"]);
        assert_eq!(needed(files, &["i/h"]), ["g/h", "i"]);
        assert_eq!(needed(files, &["i"]), ["g/h", "i"]);
    }

    #[test]
    fn a_link_may_lead_out_and_back_and_round_and_to_nothing() {
        let scratch = Scratch::new("firmware-out");
        scratch.write("lib/firmware/db-debian", "x");
        scratch.link("lib/firmware/db", "/etc/alternatives/db");
        scratch.link("etc/alternatives/db", "../../lib/firmware/db-debian");
        scratch.link("lib/firmware/out", "../../etc/passwd");
        scratch.link("lib/firmware/round", "round");
        scratch.link("lib/firmware/one", "two/x");
        scratch.link("lib/firmware/two", "one/y");
        scratch.link("lib/firmware/deeper", "deeper/deeper");
        scratch.link("lib/firmware/above", "../../../../lib/firmware/db-debian");
        let root = scratch.root();
        let files = |name: &'static str| {
            let demand = Demand::new(&root);
            demand.add(name.as_bytes(), b"m");
            let files = demand.supply(&Report::new(Volume::Quiet), b"none");
            files.unwrap().needed(false).clone()
        };
        assert_eq!(files("db"), [&b"db"[..], b"db-debian"]);
        assert_eq!(files("out"), [b"out"]);
        assert_eq!(files("round"), [b"round"]);
        assert_eq!(files("one"), [b"one"]);
        assert!(files("deeper/x").is_empty());
        assert_eq!(files("above"), [&b"above"[..], b"db-debian"]);
    }

    #[test]
    fn records_are_read_from_kmod_and_from_busybox() {
        let kmod = b"filename:       /m/kernel/a.ko.xz\nfirmware:       a/x y.bin\n\
            firmware:       a/*.bin\ndepends:        \nname:           a\nvermagic:       6.1 SMP \n\
            filename:       /m/kernel/b.ko\nalias:          firmware:c\nvermagic:       6.1\n";
        let busybox =
            b"filename:       ./kernel/a.ko\nvermagic:       6.1\nfirmware:       a.bin\n";
        let root = Root::open(b"/").unwrap();
        let demand = Demand::new(&root);
        assert_eq!(demand.add_records(kmod), 2);
        assert_eq!(demand.add_records(busybox), 1);
        let asked = demand.names.iter().map(|asked| (asked.name, asked.by));
        let wanted: [(Text, Text); 3] = [
            (b"a/x y.bin", b"a.ko.xz"),
            (b"a/*.bin", b"a.ko.xz"),
            (b"a.bin", b"a.ko"),
        ];
        assert!(asked.eq(wanted));
    }

    #[test]
    fn no_text_panics() {
        let root = Root::open(b"/").unwrap();
        let pieces: [&[u8]; 5] = [b"firmware:", b" ", b"/", b"*", b"\n"];
        crate::text::tests::every_text(&pieces, 5, &mut |text| {
            let demand = Demand::new(&root);
            demand.add_records(text.to_vec().leak());
            let entry = Entry {
                path: b"a/b",
                name: b"a/b",
                target: None,
                by: None,
                is_parked: false,
            };
            for asked in demand.names.iter() {
                let _ = entry.rest(asked.name);
            }
        });
    }
}
