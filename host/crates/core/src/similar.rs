//! The name that somebody probably meant who wrote a similar one.

/// Maximum length and number of names that are compared, because comparing costs their product. No sensible name is
/// longer.
pub const LONGEST: usize = 64;
const MOST: usize = 1000;

/// Returns a name that is so similar to `wanted` that it was probably meant.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if wanted.len() > LONGEST {
        return None;
    }
    names
        .take(MOST)
        .filter(|known| known.len() <= LONGEST)
        .map(|known| (strsim::jaro_winkler(wanted, known), known))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}
