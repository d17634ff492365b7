//! A miniature machine in a temporary directory, and the binary run on it.
//!
//! Every run has an empty environment and this root; nothing outside of it is written.

use crate::trie;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The kernel of a machine that needs only one.
pub const KERNEL: &str = "6.1.0";

/// Which indexes depmod left beside modules.dep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// None: busybox.
    Text,
    /// `modules.dep.bin` as kmod up to 33 writes it.
    Old,
    /// `modules.dep.bin` as kmod since 34 writes it.
    New,
}

/// A root directory that goes with the value.
pub struct Machine {
    root: PathBuf,
    index: Index,
}

/// What a machine's files were: path, mode, and content or where a link leads.
pub type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub out: String,
    /// Messages.
    pub err: String,
}

/// Runs a test on every kind of index, which must make no difference.
pub fn on_every_index(test: impl Fn(Machine)) {
    for index in [Index::Text, Index::Old, Index::New] {
        println!("index: {index:?}"); // shown if the test fails
        test(Machine::with(index));
    }
}

impl Machine {
    /// An empty root whose kernels have modules.dep alone.
    pub fn new() -> Machine {
        Machine::with(Index::Text)
    }

    /// An empty root whose kernels have this kind of index.
    pub fn with(index: Index) -> Machine {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("limopack-cli-{}-{number}", std::process::id());
        let root = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Machine { root, index }
    }

    /// A machine with one kernel, [`KERNEL`], of a few modules with real names and needs.
    pub fn typical() -> Machine {
        Machine::new().typical_kernel()
    }

    /// Adds the kernel of [`Machine::typical`].
    pub fn typical_kernel(self) -> Machine {
        self.kernel(
            KERNEL,
            "kernel/drivers/bluetooth/hci_uart.ko: kernel/net/bluetooth/bluetooth.ko kernel/net/rfkill.ko\n\
             kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n\
             kernel/fs/jbd2/jbd2.ko:\n\
             kernel/lib/crc16.ko:\n\
             kernel/net/bluetooth/bluetooth.ko: kernel/net/rfkill.ko\n\
             kernel/net/rfkill.ko:\n\
             kernel/sound/snd-hda_intel.ko.xz: kernel/sound/snd.ko.xz\n\
             kernel/sound/snd.ko.xz:\n",
        )
        .builtin(KERNEL, "kernel/fs/fscache/net-fs.ko\n")
    }

    /// Adds a kernel: its modules.dep, the index that goes with it, and the files that it names.
    pub fn kernel(self, version: &str, dep: &str) -> Machine {
        for line in dep.lines() {
            let path = line.split(':').next().unwrap();
            self.write(&format!("lib/modules/{version}/{path}"), "module");
        }
        self.dep(version, dep)
    }

    /// Replaces a kernel's modules.dep and the index that goes with it.
    pub fn dep(self, version: &str, dep: &str) -> Machine {
        // Without one the kernel would be one that was removed.
        fs::create_dir_all(self.path(&format!("lib/modules/{version}/kernel"))).unwrap();
        self.write(&format!("lib/modules/{version}/modules.dep"), dep);
        let order = match self.index {
            Index::Text => return self,
            Index::Old => trie::Order::Post,
            Index::New => trie::Order::Pre,
        };
        let file = format!("lib/modules/{version}/modules.dep.bin");
        self.write(&file, dep_index(dep, order));
        self
    }

    /// Sets a kernel's modules.builtin.
    pub fn builtin(self, version: &str, paths: &str) -> Machine {
        self.file(&format!("lib/modules/{version}/modules.builtin"), paths)
    }

    /// Sets the registry of [`KERNEL`].
    pub fn registered(self, text: &str) -> Machine {
        self.file(&active(KERNEL), text)
    }

    /// Sets what is loaded, one line of /proc/modules for each name.
    pub fn loaded(self, names: &[&str]) -> Machine {
        let line = |name: &&str| format!("{name} 16384 0 - Live 0xffffffffc0550000\n");
        let text: String = names.iter().map(line).collect();
        self.file("proc/modules", &text)
    }

    /// Adds a file, with the directories above it.
    pub fn file(self, path: &str, content: impl AsRef<[u8]>) -> Machine {
        self.write(path, content);
        self
    }

    /// Adds what makes a version directory that of an installed kernel, besides its index.
    pub fn installed(self) -> Machine {
        self.directory("lib/modules/6.1.0/kernel")
    }

    /// Adds an empty directory.
    pub fn directory(self, path: &str) -> Machine {
        fs::create_dir_all(self.path(path)).unwrap();
        self
    }

    /// Adds a symbolic link.
    pub fn link(self, path: &str, target: impl AsRef<Path>) -> Machine {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        symlink(target, self.path(path)).unwrap();
        self
    }

    /// Writes a file, with the directories above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), content).unwrap();
    }

    /// Where a path of this machine is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of a file; empty if there is none.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// The registry of [`KERNEL`].
    pub fn active(&self) -> String {
        self.read(&active(KERNEL))
    }

    /// The binary, run on this root, with an empty environment.
    pub fn command(&self, line: &str) -> Command {
        let mut command = self.anywhere();
        command.arg("--root").arg(&self.root);
        command.args(line.split_whitespace());
        command
    }

    /// The binary in this directory, without arguments and environment.
    pub fn anywhere(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_limopack"));
        command.env_clear().current_dir(&self.root);
        command.stdin(Stdio::null());
        command
    }

    /// Runs the binary on this root with the words of `line`.
    pub fn run(&self, line: &str) -> Ran {
        ran(&mut self.command(line))
    }

    /// Runs it and returns its data; it must succeed without a message.
    pub fn prints(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, &*ran.err), (Some(0), ""), "{line}: {ran:?}");
        ran.out
    }

    /// Runs it as [`Machine::prints`]; it must print nothing either.
    pub fn succeeds(&self, line: &str) {
        assert_eq!(self.prints(line), "", "{line}");
    }

    /// Runs it and returns its messages; it must fail with exit code 1, print no data, and leave
    /// every file as it was.
    pub fn refuses(&self, line: &str) -> String {
        self.fails(&mut self.command(line), 1)
    }

    /// As [`Machine::refuses`], for a command line that makes no sense.
    pub fn usage_error(&self, line: &str) -> String {
        self.fails(&mut self.command(line), 2)
    }

    /// Runs a command that must fail without data and without a change; returns its messages,
    /// without `limopack: ` and with the root's path as `ROOT`.
    pub fn fails(&self, command: &mut Command, code: i32) -> String {
        let before = self.snapshot();
        let ran = ran(command);
        assert_eq!(
            (ran.code, &*ran.out),
            (Some(code), ""),
            "{command:?}: {ran:?}"
        );
        assert!(self.snapshot() == before, "{command:?} changed something");
        self.messages(&ran.err)
    }

    /// Messages without their `limopack: `, which each must have, and with the root's path as
    /// `ROOT`.
    pub fn messages(&self, err: &str) -> String {
        let message = |line: &str| {
            let text = line.strip_prefix("limopack: ");
            text.unwrap_or_else(|| panic!("no 'limopack: ' before: {line}"))
                .to_string()
        };
        assert!(err.is_empty() || err.ends_with('\n'), "{err}");
        let all: Vec<String> = err.lines().map(message).collect();
        all.join("\n").replace(self.root.to_str().unwrap(), "ROOT")
    }

    /// Everything below the root.
    pub fn snapshot(&self) -> Snapshot {
        let mut files = Snapshot::new();
        let mut pending = vec![self.root.clone()];
        while let Some(path) = pending.pop() {
            let kind = fs::symlink_metadata(&path).unwrap();
            let content = if kind.is_dir() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                Vec::new()
            } else if kind.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_vec()
            } else if kind.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            files.insert(path, (kind.permissions().mode(), content));
        }
        files
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    Ran::from(command.output().unwrap())
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A kernel's registry, below the root.
pub fn active(version: &str) -> String {
    format!("lib/modules/{version}/modules.active")
}

/// The modules.dep.bin of a modules.dep.
pub fn dep_index(dep: &str, order: trie::Order) -> Vec<u8> {
    let name = |line: &str| {
        let path = line.split(':').next().unwrap();
        let file = path.rsplit('/').next().unwrap();
        file.split('.').next().unwrap().replace('-', "_")
    };
    let names: Vec<String> = dep.lines().map(name).collect();
    let entries: Vec<trie::Entry<'_>> = (0..)
        .zip(names.iter().zip(dep.lines()))
        .map(|(number, (name, line))| (name.as_bytes(), number, line.as_bytes()))
        .collect();
    trie::index(&entries, order)
}
