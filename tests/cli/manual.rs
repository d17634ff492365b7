//! Man pages, completions, README and the other documents name the same flags as the program, and
//! it accepts their examples.

#[allow(dead_code)] // its main
#[path = "../../src/cli/manual/main.rs"]
pub mod generator;

use generator::{completions, page, texts};
use limopack::cli::flags::FLAGS;
use limopack::error::{Error, ErrorKind};
use limopack::needs::hidden::{FIRMWARE, KNOWN};
use limopack::text::active::Registry;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Flags of other programs that the documents may name.
const OTHERS: &[&str] = &[
    "action",
    "create",
    "format",
    "locked",
    "now",
    "regenerate-all",
    "reinstall",
    "release",
    "show-depends",
    "verify",
];

fn read(file: &str) -> String {
    fs::read_to_string(format!("{HERE}/{file}")).unwrap()
}

/// Every file below a directory of the source.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// limopack(8) and limopack-integration(7).
fn pages() -> [String; 2] {
    [page::reference(), page::integration()]
}

/// The lines that a page shows as they would be typed: `.Dl` and between `.Bd` and `.Ed`.
fn examples(page: &str) -> Vec<&str> {
    let mut is_display = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        match line.split(' ').next() {
            Some(".Bd") => is_display = true,
            Some(".Ed") => is_display = false,
            _ if is_display => lines.push(line),
            _ => lines.extend(line.strip_prefix(".Dl ")),
        }
    }
    lines
}

/// The words after `limopack` in a line as it would be typed, up to a pipe.
fn words(line: &str) -> Option<Vec<OsString>> {
    let line = line
        .replace("$(uname -r)", "6.1.0")
        .replace("$version", "6.1.0");
    let words = line.trim_start().strip_prefix("limopack ")?;
    let words = words.split(&['|', '>'][..]).next()?.split_whitespace();
    let plain = |word: &str| OsString::from(word.replace(&['\'', '"', '\\'][..], ""));
    Some(words.map(plain).collect())
}

/// Every `--word` of a text.
fn long_flags(text: &str) -> Vec<&str> {
    let is_inside = |c: char| c.is_ascii_lowercase() || c == '-';
    let mut flags = Vec::new();
    for (at, _) in text.match_indices("--") {
        let is_start = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        let name = &text[at + 2..];
        let name = &name[..name.find(|c| !is_inside(c)).unwrap_or(name.len())];
        if is_start && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            flags.push(name);
        }
    }
    flags
}

#[test]
fn every_flag_has_one_text_and_every_text_a_flag() {
    for flag in FLAGS {
        let texts = texts::TEXTS
            .iter()
            .filter(|(long, _)| *long == flag.strings().long);
        assert_eq!(texts.count(), 1, "texts of --{}", flag.strings().long);
    }
    for (long, _) in texts::TEXTS {
        let is_flag = FLAGS.iter().any(|flag| flag.strings().long == *long);
        assert!(is_flag, "a text for --{long}, which is no flag");
    }
}

#[test]
fn the_page_names_every_flag_with_its_letters_and_its_value() {
    let page = page::reference();
    for flag in FLAGS {
        let letters: String = flag
            .strings()
            .letters
            .chars()
            .map(|c| format!("Fl {c} , "))
            .collect();
        let value = match flag.strings().value {
            "" => String::new(),
            value => format!(" Ns = Ns Ar {value}"),
        };
        let item = format!("\n.It {letters}Fl Fl {}{value}\n", flag.strings().long);
        assert!(page.contains(&item), "{item}");
    }
}

#[test]
fn the_page_tells_every_hidden_need_and_its_reason() {
    let page = page::reference();
    let section = page.split(".Ss Hidden needs\n").nth(1).unwrap();
    let section = section.split(".Ss ").next().unwrap().replace('\n', " ");
    for (modules, names, reason) in FIRMWARE {
        let entry = format!(".It Li {modules} .Li firmware: {names} : {reason}. ");
        assert!(section.contains(&entry), "{entry}");
    }
    for (modules, targets, reason) in KNOWN {
        let entry = format!(".It Li {modules} .Li {targets} : {reason}. ");
        assert!(section.contains(&entry), "{entry}");
    }
}

#[test]
fn the_pages_name_no_flag_that_is_none() {
    for line in pages().iter().flat_map(|page| page.lines()) {
        for rest in line.split("Fl Fl ").skip(1) {
            let name = rest.split(' ').next().unwrap();
            assert!(
                FLAGS.iter().any(|flag| flag.strings().long == name),
                "{line}"
            );
        }
    }
}

#[test]
fn the_pages_are_well_formed() {
    for page in pages() {
        for line in page.lines() {
            assert!(!line.is_empty() && !line.ends_with(' '), "{line:?}");
            assert!(line.len() <= 80 || line.starts_with('.'), "{line}");
            let has_place = line.contains('@') && !line.contains("#@") && !line.contains(".Li @");
            assert!(line.is_ascii() && !has_place, "{line}");
        }
        for (open, close) in [(".Bl ", ".El"), (".Bd ", ".Ed")] {
            let starting = page.lines().filter(|line| line.starts_with(open)).count();
            let ending = page.lines().filter(|line| *line == close).count();
            assert_eq!(starting, ending, "{open}");
        }
    }
}

#[test]
fn the_page_knows_every_exit_code() {
    let page = page::reference();
    let codes = page.split(".Sh EXIT STATUS").nth(1).unwrap();
    let codes = codes.split(".Sh ").next().unwrap();
    let codes: Vec<&str> = codes
        .lines()
        .filter_map(|line| line.strip_prefix(".It "))
        .collect();
    let errors = [
        Error::refused(limopack::msg!(""), &[]),
        Error::usage(limopack::msg!(""), &[]),
        Error::new(ErrorKind::Busy, limopack::msg!(""), &[]),
    ];
    let real = errors.iter().map(|error| error.exit_code().to_string());
    let real: Vec<String> = ["0".to_string()].into_iter().chain(real).collect();
    assert_eq!(codes, real);
}

#[test]
fn the_page_knows_every_variable_that_the_program_reads() {
    let page = page::reference();
    let mut count = 0;
    for file in files(&Path::new(HERE).join("src")) {
        let source = fs::read_to_string(file).unwrap();
        for rest in source.split("variable(\"").skip(1) {
            let name = rest.split('"').next().unwrap();
            assert!(page.contains(name), "{name}");
            count += 1;
        }
    }
    assert!(count > 5);
}

#[test]
fn the_examples_of_pages_and_readme_are_command_lines() {
    let (pages, readme) = (pages(), read("README.md"));
    // What is in a fence, but not what is in `console`, which is run.
    let fenced = readme.split("```").skip(1).step_by(2);
    let fenced = fenced.filter(|block| !block.starts_with("console"));
    let fenced = fenced.flat_map(str::lines);
    let mut count = 0;
    let shown = pages.iter().flat_map(|page| examples(page));
    for line in shown.chain(fenced) {
        let Some(words) = words(line) else { continue };
        if let Err(error) = limopack::cli::parse(words) {
            panic!("{line}: {error:?}");
        }
        count += 1;
    }
    assert!(count > 25, "{count}");
}

#[test]
fn the_registry_of_the_page_is_one() {
    let page = page::reference().leak();
    let shown = page.split("-offset indent\n").map(|rest| {
        let end = rest.find(".Ed").unwrap_or(0);
        &rest[..end]
    });
    let shown: Vec<&str> = shown.filter(|text| text.contains("ext4:S")).collect();
    assert_eq!(shown.len(), 1);
    let registry = Registry::parse(shown[0].as_bytes(), b"page").unwrap();
    assert_eq!(registry.to_text(), shown[0].as_bytes());
}

#[test]
fn the_recipes_name_this_version() {
    let version = format!("\nLIMOPACK_VERSION = {}\n", env!("CARGO_PKG_VERSION"));
    assert!(page::integration().contains(&version));
}

#[test]
fn every_completion_knows_every_flag() {
    let (bash, zsh, fish) = (completions::bash(), completions::zsh(), completions::fish());
    for flag in FLAGS {
        let (long, value) = (
            flag.strings().long,
            if flag.strings().value.is_empty() {
                ""
            } else {
                "="
            },
        );
        assert!(bash.contains(&format!("--{long}{value}")), "bash: --{long}");
        assert!(zsh.contains(&format!("--{long}{value}")), "zsh: --{long}");
        assert!(fish.contains(&format!("-l {long} -d ")), "fish: --{long}");
        for letter in flag.strings().letters.chars() {
            assert!(zsh.contains(&format!("-{letter}")), "zsh: -{letter}");
            assert!(fish.contains(&format!("-s {letter} ")), "fish: -{letter}");
        }
        // A value of a kind that the completions do not know would complete nothing.
        if !flag.strings().value.is_empty() {
            let value_case = format!("--{long}) _limopack_value ");
            assert!(bash.contains(&value_case), "bash: value of --{long}");
        }
    }
    for text in [bash, zsh, fish] {
        for placeholder in ["@ACTIONS@", "@VALUES@", "@FLAGS@"] {
            assert!(!text.contains(placeholder), "{placeholder}");
        }
    }
}

#[test]
fn prose_and_scripts_speak_of_flags_that_exist() {
    let hooks = files(&Path::new(HERE).join("cross/package/hooks"));
    let hooks = hooks
        .into_iter()
        .map(|file| fs::read_to_string(file).unwrap());
    let texts = [
        "README.md",
        "CHANGELOG.md",
        "tests/show.sh",
        "tests/system/README.md",
    ];
    let mut count = 0;
    for text in texts.map(read).into_iter().chain(pages()).chain(hooks) {
        for name in long_flags(&text) {
            let is_ours = FLAGS.iter().any(|flag| flag.strings().long == name);
            assert!(is_ours || OTHERS.contains(&name), "--{name}");
            count += 1;
        }
    }
    assert!(count > 30);
}

#[test]
fn every_hook_is_installed() {
    let makefile = read("Makefile");
    let hooks = Path::new(HERE).join("cross/package/hooks");
    for file in files(&hooks) {
        let folder = file.parent().unwrap().strip_prefix(&hooks).unwrap();
        let row = format!("\t{}:", folder.display());
        assert!(makefile.contains(&row), "{} has no row", file.display());
    }
}

#[test]
fn the_page_lists_every_hook_that_is_installed() {
    let page = page::integration();
    for file in files(&Path::new(HERE).join("cross/package/hooks")) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap();
        // dracut knows a module by its directory.
        let last = match name {
            "module-setup.sh" => PathBuf::from(folder.file_name().unwrap()),
            name => Path::new(folder.file_name().unwrap()).join(name),
        };
        let path = format!("/{} ", last.display());
        assert!(page.replace('\n', " ").contains(&path), "{path}");
    }
}
