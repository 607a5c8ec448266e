//! An item on its way to a worker.

/// What the bytes of an item are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemTag {
    /// The item.
    Item,
    /// It could not be read; the bytes say why. It takes the way of all items, so that order and counts are kept.
    Unreadable,
}
