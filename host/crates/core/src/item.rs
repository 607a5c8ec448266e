//! An item on its way to a worker.

/// Meaning of an item's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemTag {
    /// The bytes are the item.
    Item,
    /// The item could not be read, and the bytes say why. It takes the same way as all items, so that order and counts
    /// stay right.
    Unreadable,
}
