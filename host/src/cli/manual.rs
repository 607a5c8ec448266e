//! `wasmpool completions` and `wasmpool man`, made of what the parser of the command line knows.

use std::io;

use clap_complete::Shell;
use clap_mangen::Man;

use super::args::{CompletedShell, CompletionsArgs, ManArgs};
use super::exit::{Exit, Stop};
use super::help::{self, Reader};
use super::print;
use wasmpool_core::text::ForeignText;
use wasmpool_run::error::Error;

/// Prints the completions of a shell.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, Stop> {
    let shell = match args.shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut help::command(Reader::Files), "wasmpool", &mut text);
    Ok(print(&text).map_err(Error::output)?)
}

/// Prints the manual page of `wasmpool`, or writes the pages of all commands into a directory.
pub fn man(args: &ManArgs) -> Result<Exit, Stop> {
    let command = help::command(Reader::Files);
    let Some(directory) = &args.dir else {
        let mut page = Vec::new();
        let shown = |e: io::Error| format!("cannot make the manual page: {e}");
        Man::new(command).render(&mut page).map_err(shown)?;
        return Ok(print(&page).map_err(Error::output)?);
    };
    if !directory.is_dir() {
        let name = ForeignText::of(directory);
        return Err(format!("there is no directory {name} for the manual pages: make it, or name another").into());
    }
    clap_mangen::generate_to(command, directory)
        .map_err(|e| format!("cannot write the manual pages to {}: {e}", ForeignText::of(directory)))?;
    Ok(Exit::Success)
}
