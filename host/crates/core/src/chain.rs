//! An error in words, with all that is behind it.

use std::error::Error;

/// Returns an error in words with all that is behind it, each of which says its own part alone.
pub fn with_sources(error: &(dyn Error + 'static)) -> String {
    with_sources_said(error, |error| error.to_string())
}

/// Returns an error as [`with_sources`] does, where `said` puts each error of the chain in words.
pub fn with_sources_said(error: &(dyn Error + 'static), said: impl Fn(&(dyn Error + 'static)) -> String) -> String {
    let mut text = said(error);
    let mut next = error.source();
    while let Some(source) = next {
        text += ": ";
        text += &said(source);
        next = source.source();
    }
    text
}
