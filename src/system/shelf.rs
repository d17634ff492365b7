//! Where texts stand while views borrow from them.
//!
//! Files are opened when somebody first asks for them, and what was read from one is kept while
//! the next is opened. A shelf only ever gains texts, so that a borrow of one is good for as
//! long as the shelf. (Rejected: a lazy field for each file, which rewrites that rule a dozen
//! times; leaking, which keeps every kernel's files mapped to the end.)

use crate::system::Text;
use std::cell::RefCell;

/// Keeps texts in place until it is dropped.
#[derive(Default)]
pub struct Shelf {
    texts: RefCell<Vec<Box<Text>>>,
}

#[allow(unsafe_code)]
impl Shelf {
    /// Puts a text on the shelf and lends its bytes.
    pub fn keep(&self, text: Text) -> &[u8] {
        let text = Box::new(text);
        let bytes: *const [u8] = &**text;
        self.texts.borrow_mut().push(text);
        // SAFETY: the bytes are a mapping or a heap buffer that the boxed text owns. Nothing
        // takes a text out or changes it before the shelf is dropped, which the borrow outlasts
        // not.
        unsafe { &*bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_borrow_survives_later_texts() {
        let shelf = Shelf::default();
        let first = shelf.keep(Text::Read(b"first".to_vec()));
        for _ in 0..100 {
            shelf.keep(Text::Read(vec![0; 10]));
        }
        assert_eq!(first, b"first");
    }
}
