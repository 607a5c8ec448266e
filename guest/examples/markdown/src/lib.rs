//! Renders Markdown to HTML: bytes in, bytes out.
//!
//! CommonMark with GitHub's tables, task lists, strikethrough and footnotes. HTML
//! in the source is passed on as CommonMark says: the sandbox protects the host
//! from the renderer, not a browser from the author of the text.

use std::str::Utf8Error;

use pulldown_cmark::{Options, Parser, html};

wasmpool_guest::task!(run: render);

fn render(item: &[u8]) -> Result<String, Utf8Error> {
    let source = std::str::from_utf8(item)?;
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
    let mut page = String::with_capacity(source.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(source, options));
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_commonmark_and_tables() {
        assert_eq!(render(b"# Hi *there*").unwrap(), "<h1>Hi <em>there</em></h1>\n");
        assert!(render(b"|a|\n|-|\n|1|").unwrap().contains("<td>1</td>"));
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error() {
        assert!(render(b"caf\xe9").is_err());
    }
}
