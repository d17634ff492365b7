//! Texts made of bytes: templates, numbers, what may reach a terminal.
//!
//! limopack does one thing and ends, so a text that was made stays until then ([`Text`]). It can
//! be put into a message, a list or a plan without a copy or a lifetime, and nothing has to know
//! how to free it: that knowledge, at every place where a text went out of use, was a tenth of the
//! program. What is made for each of thousands of files goes into a buffer that is used again.

use crate::template::Template;

/// Bytes that stay until the process ends.
pub type Text = &'static [u8];

/// A list that stays as well. One word wide, so that it comes back in a register, also where an error
/// may come in its place; a slice would go over memory then.
pub type List<T> = &'static Vec<T>;

/// A list that was made, as one that stays.
pub fn keep_list<T>(list: Vec<T>) -> List<T> {
    Box::leak(Box::new(list))
}

/// A list that is to be made, where it stays. One word wide, too: a [`Vec`] is three, which each function
/// that makes one would have to fill.
#[inline(never)]
pub fn new_list<'l, T: 'l>() -> &'l mut Vec<T> {
    Box::leak(Box::new(Vec::new()))
}

/// A copy that stays.
pub fn keep(text: &[u8]) -> Text {
    text.to_vec().leak()
}

/// A text from a template: each `{}` is replaced by the next of `parts`. What `format!` does, for
/// bytes, and a tenth of its size. At most places there are one or two parts, which then go by
/// registers.
#[inline(always)]
pub fn render(template: Template, parts: &[&[u8]]) -> Text {
    match parts {
        [one] => render_one(template, one),
        [one, two] => render_two(template, one, two),
        _ => render_all(template, parts),
    }
}

#[inline(never)]
fn render_one(template: Template, one: &[u8]) -> Text {
    render_all(template, &[one])
}

#[inline(never)]
fn render_two(template: Template, one: &[u8], two: &[u8]) -> Text {
    render_all(template, &[one, two])
}

#[inline(never)]
fn render_all(template: Template, parts: &[&[u8]]) -> Text {
    let mut text = Vec::new();
    push_rendered(&mut text, &template.unpack(), parts);
    text.leak()
}

/// Appends such a text.
pub fn push_rendered(text: &mut Vec<u8>, template: &[u8], parts: &[&[u8]]) {
    let mut parts = parts.iter();
    let mut pieces = template.split(|&byte| byte == b'{');
    text.extend_from_slice(pieces.next().unwrap_or(b""));
    for piece in pieces {
        let part = parts.next();
        debug_assert!(
            part.is_some() && piece[0] == b'}',
            "{}",
            String::from_utf8_lossy(template)
        );
        text.extend_from_slice(part.copied().unwrap_or(b""));
        text.extend_from_slice(piece.get(1..).unwrap_or(b""));
    }
    debug_assert!(
        parts.next().is_none(),
        "{}",
        String::from_utf8_lossy(template)
    );
}

/// Texts one after the other, with something between them. (std's functions for that cost twice.)
pub fn join(texts: &[&[u8]], between: &str) -> Text {
    let mut joined = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            joined.extend_from_slice(between.as_bytes());
        }
        joined.extend_from_slice(text);
    }
    joined.leak()
}

/// A few names, and how many more there are.
pub fn some_of(names: &[Text]) -> Text {
    const MOST: usize = 8;
    let shown = join(&names[..names.len().min(MOST)], ", ");
    match names.len().checked_sub(MOST) {
        None | Some(0) => shown,
        Some(more) => render(msg!("{} and {} more"), &[shown, decimal(more)]),
    }
}

/// A number in decimal, as bytes.
pub fn decimal(number: usize) -> Text {
    let mut digits = Vec::new();
    push_decimal(&mut digits, number);
    digits.leak()
}

/// Appends such a number.
pub fn push_decimal(text: &mut Vec<u8>, mut number: usize) {
    let start = text.len();
    loop {
        text.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            return text[start..].reverse();
        }
    }
}

/// Appends a byte in two digits.
fn push_hexadecimal(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

/// Appends `bytes`, with control bytes as `\xNN`.
pub fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        if byte < 0x20 || byte == 0x7f {
            out.extend_from_slice(b"\\x");
            push_hexadecimal(out, byte);
        } else {
            out.push(byte);
        }
    }
}

/// Appends a JSON object of texts, on a line of its own. What is no printable ASCII goes as `\u00NN`,
/// byte by byte, since names promise no UTF-8.
pub fn push_object(out: &mut Vec<u8>, fields: &[(&str, &[u8])]) {
    let mut before = b'{';
    for (key, value) in fields {
        out.extend_from_slice(&[before, b'"']);
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(b"\":\"");
        for &byte in *value {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                b' '..=b'~' => out.push(byte),
                _ => {
                    out.extend_from_slice(b"\\u00");
                    push_hexadecimal(out, byte);
                }
            }
        }
        out.push(b'"');
        before = b',';
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_ascii_whatever_is_in_it() {
        let mut out = Vec::new();
        push_object(&mut out, &[("a", b"x"), ("b", b"\"\\\t\x7f\xc3\xa9")]);
        let wanted = br#"{"a":"x","b":"\"\\\u0009\u007f\u00c3\u00a9"}"#;
        assert_eq!(out.strip_suffix(b"\n"), Some(&wanted[..]));
    }

    #[test]
    fn decimal_writes_the_whole_range() {
        assert_eq!(decimal(0), b"0");
        assert_eq!(decimal(usize::MAX), usize::MAX.to_string().into_bytes());
    }

    #[test]
    fn control_bytes_never_reach_a_terminal() {
        let mut out = Vec::new();
        push_escaped(&mut out, b"a\n\x1b[31m\xff");
        assert_eq!(out, b"a\\x0a\\x1b[31m\xff");
    }
}
