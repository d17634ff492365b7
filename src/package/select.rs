//! Which packages the user means: `PKG`, `PKG:arch`, or a pattern with `*` and `?`.

use crate::format::new_list;
use crate::text::catalog::{Catalog, CatalogEntry};
use crate::text::rfind;

/// What `--pkname` names.
#[derive(Clone, Copy, Debug)]
pub struct Spec<'a> {
    name: &'a [u8],
    arch: Option<&'a [u8]>,
}

impl<'a> Spec<'a> {
    /// Takes a name apart.
    #[inline(never)] // it is called in many places
    pub fn new(spec: &'a [u8]) -> Self {
        match rfind(spec, b':') {
            Some(colon) => Spec {
                name: &spec[..colon],
                arch: Some(&spec[colon + 1..]),
            },
            None => Spec {
                name: spec,
                arch: None,
            },
        }
    }

    /// Whether it may mean several packages.
    pub fn is_pattern(&self) -> bool {
        self.name.iter().any(|byte| matches!(byte, b'*' | b'?'))
    }

    /// Whether it names a package of this name and architecture. Where the architecture is not
    /// told, as in the names of most lists, it may be any.
    pub fn matches(&self, package: &[u8], arch: &[u8]) -> bool {
        let is_arch = |wanted| arch.is_empty() || wanted == arch;
        self.arch.map_or(true, is_arch) && glob(self.name, package)
    }

    /// The names that it means. Only a pattern looks at all of them.
    pub fn among<'t>(&self, names: &Catalog<'t>) -> &'t [CatalogEntry<'t>] {
        let candidates = match self.is_pattern() {
            true => names.entries(),
            false => names.find(self.name),
        };
        let found = new_list();
        for entry in candidates {
            if self.matches(entry.name, entry.arch) {
                found.push(*entry);
            }
        }
        found
    }
}

/// Shell patterns of `*` and `?`: no other characters of theirs are in package names.
pub fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    // Where to go on when the last `*` has to take one byte more.
    let mut retry = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, seen));
                at += 1;
                continue;
            }
            Some(&byte) if byte == b'?' || byte == text[seen] => {
                at += 1;
                seen += 1;
                continue;
            }
            _ => {}
        }
        let Some((after, start)) = retry else {
            return false;
        };
        retry = Some((after, start + 1));
        (at, seen) = (after, start + 1);
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, text, wanted) in [
            ("linux-modules-*", "linux-modules-6.1", true),
            ("linux-modules-*", "linux-modules", false),
            ("*", "", true),
            ("a*b*c", "axxbyybzc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(
                glob(pattern.as_bytes(), text.as_bytes()),
                wanted,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn an_architecture_selects_one() {
        assert!(Spec::new(b"k:armhf").matches(b"k", b"armhf"));
        assert!(!Spec::new(b"k:armhf").matches(b"k", b"arm64"));
        assert!(Spec::new(b"k*").is_pattern() && !Spec::new(b"k:armhf").is_pattern());
    }
}
