//! Where the pages of the documents are that messages name.

use std::path::Path;

use wasmpool_core::text::ForeignText;

/// Where a package puts the documents, from the directory of the program.
const INSTALLED: &str = "../share/doc/wasmpool/docs";

/// Returns the path of a page, such as `plugin-go.md`: the whole path where the program was installed together with its
/// documents, and else that in the repository.
pub fn page(name: &str) -> String {
    let program = std::env::current_exe().unwrap_or_default();
    page_of(&program, name)
}

fn page_of(program: &Path, name: &str) -> String {
    let installed = program.parent().map(|directory| directory.join(INSTALLED).join(name));
    match installed.and_then(|page| page.canonicalize().ok()) {
        Some(page) => ForeignText::of(&page).to_string(),
        None => format!("docs/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_installed_is_named_by_its_whole_path() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let docs = root.path().join("share/doc/wasmpool/docs");
        std::fs::create_dir_all(&docs).expect("made");
        std::fs::create_dir(root.path().join("bin")).expect("made");
        std::fs::write(docs.join("plugins.md"), "").expect("written");
        let program = root.path().join("bin/wasmpool");
        let wanted = docs.canonicalize().expect("it is there").join("plugins.md");
        assert_eq!(page_of(&program, "plugins.md"), ForeignText::of(&wanted).to_string());
        assert_eq!(page_of(&program, "plugin-go.md"), "docs/plugin-go.md");
    }
}
