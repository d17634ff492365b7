//! Writes depmod's binary index, in both layouts that exist: a second opinion for tests, which
//! shares no code with the product. A tree of nodes in memory, as depmod itself has it.

use std::collections::BTreeMap;

/// In which order the nodes stand in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Children before their parent, the root last: kmod up to 33.
    Post,
    /// Parents before their children, the root first: kmod since 34.
    Pre,
}

/// A key, the priority of its value, the value.
pub type Entry<'e> = (&'e [u8], u32, &'e [u8]);

#[derive(Default)]
struct Node {
    prefix: Vec<u8>,
    values: Vec<(u32, Vec<u8>)>,
    children: BTreeMap<u8, Node>,
}

/// The index file that holds `entries`.
pub fn index(entries: &[Entry<'_>], order: Order) -> Vec<u8> {
    let mut out = vec![0xB0, 0x07, 0xF4, 0x57, 0x00, 0x02, 0x00, 0x01, 0, 0, 0, 0];
    let root = match entries.is_empty() {
        true => 12,
        false => node(entries.to_vec(), Place::Root).write(&mut out, order),
    };
    out[8..12].copy_from_slice(&root.to_be_bytes());
    out
}

/// Where a node stands.
#[derive(PartialEq)]
enum Place {
    /// On top, where depmod begins without a prefix and never splits.
    Root,
    /// Anywhere else.
    Below,
}

/// The node below which `entries` lie, whose keys have lost what led to it.
fn node(entries: Vec<Entry<'_>>, place: Place) -> Node {
    let first = entries[0].0;
    let common =
        |(key, _, _): &Entry<'_>| first.iter().zip(*key).take_while(|(a, b)| a == b).count();
    let prefix = match place {
        Place::Root => 0,
        Place::Below => entries.iter().map(common).min().unwrap_or(0),
    };
    let mut node = Node {
        prefix: first[..prefix].to_vec(),
        ..Node::default()
    };
    let mut below: BTreeMap<u8, Vec<Entry<'_>>> = BTreeMap::new();
    for (key, priority, value) in entries {
        match key[prefix..].split_first() {
            // Of equal priorities the newest is first.
            None => node.values.insert(0, (priority, value.to_vec())),
            Some((&label, rest)) => below
                .entry(label)
                .or_default()
                .push((rest, priority, value)),
        }
    }
    node.values.sort_by_key(|(priority, _)| *priority);
    node.children = (below.into_iter())
        .map(|(label, entries)| (label, self::node(entries, Place::Below)))
        .collect();
    node
}

impl Node {
    /// Writes the node and all below it; returns its offset with the flags of what it has.
    fn write(&self, out: &mut Vec<u8>, order: Order) -> u32 {
        let mut children = BTreeMap::new();
        let mut write_children = |out: &mut Vec<u8>| {
            for (&label, child) in &self.children {
                children.insert(label, child.write(out, order));
            }
        };
        let at = match order {
            Order::Post => {
                write_children(out);
                out.len()
            }
            Order::Pre => {
                let at = out.len();
                out.resize(at + self.bytes(&BTreeMap::new()).len(), 0);
                write_children(out);
                at
            }
        };
        let bytes = self.bytes(&children);
        out.resize(out.len().max(at + bytes.len()), 0);
        out[at..at + bytes.len()].copy_from_slice(&bytes);
        let flag = |has: bool, flag: u32| if has { flag } else { 0 };
        u32::try_from(at).unwrap()
            | flag(!self.prefix.is_empty(), 0x8000_0000)
            | flag(!self.values.is_empty(), 0x4000_0000)
            | flag(!self.children.is_empty(), 0x2000_0000)
    }

    /// The node itself; a child without an offset yet has 0, which is as long.
    fn bytes(&self, offsets: &BTreeMap<u8, u32>) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.prefix.is_empty() {
            bytes.extend_from_slice(&self.prefix);
            bytes.push(0);
        }
        let mut labels = self.children.keys();
        if let Some(&first) = labels.next() {
            let last = *labels.last().unwrap_or(&first);
            bytes.extend_from_slice(&[first, last]);
            for label in first..=last {
                bytes.extend_from_slice(&offsets.get(&label).unwrap_or(&0).to_be_bytes());
            }
        }
        if !self.values.is_empty() {
            bytes.extend_from_slice(&u32::try_from(self.values.len()).unwrap().to_be_bytes());
            for (priority, value) in &self.values {
                bytes.extend_from_slice(&priority.to_be_bytes());
                bytes.extend_from_slice(value);
                bytes.push(0);
            }
        }
        bytes
    }
}
