//! Options of the command line that would have no effect beside the others. Whoever wrote one meant something by it, so it is
//! refused, with what it is for. A variable of the environment may be there for other runs, and is passed over.

use clap::ValueEnum;

use super::UsageError;
use crate::cli::args::{Delimiter, InputFormat, OutputFormat};
use crate::cli::source::{SettingSource, Sourced};
use crate::cli::spec::{CommandSpec, ManyItems, RunSpec, WorkSpec};

/// Returns an error for the first option that would have no effect in a run of many items.
pub fn of_many_items(spec: &RunSpec) -> Result<(), UsageError> {
    let items = &spec.items;
    of_formats(items)?;
    if is_said(&items.retry_on) && *items.retries == 0 {
        return Err(UsageError::RetryOnWithoutRetries {
            retry_on: items.retry_on.option_name("--retry-on").to_string(),
        });
    }
    #[cfg(feature = "hosts")]
    if items.via.is_none() {
        let said = [(is_said(&items.speculate), "--speculate"), (is_said(&items.via_storage), "--via-storage")];
        if let Some((_, option)) = said.into_iter().find(|(is_said, _)| *is_said) {
            return Err(UsageError::WithoutVia { option: option.to_owned() });
        }
    }
    match &spec.work {
        WorkSpec::Command(command) => of_places(command),
        WorkSpec::Function(_) => Ok(()),
    }
}

fn is_said<T>(option: &Sourced<T>) -> bool {
    option.source == SettingSource::CommandLine
}

/// What stands between results, or between columns, in a run whose results or items have none of it.
fn of_formats(items: &ManyItems) -> Result<(), UsageError> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    };
    if is_said(&items.delimiter) && *items.output_format != OutputFormat::Raw {
        let value = name(Delimiter::to_possible_value(&items.delimiter));
        let delimiter = items.delimiter.option_name_with("--delimiter", &value).to_string();
        let format = format!("--output-format {}", name(OutputFormat::to_possible_value(&items.output_format)));
        return Err(UsageError::OnlyOfRaw { delimiter, format });
    }
    if is_said(&items.csv_delimiter) && *items.input_format != InputFormat::Csv {
        return Err(UsageError::OnlyOfCsv { option: items.csv_delimiter.option_name("--csv-delimiter").to_string() });
    }
    Ok(())
}

/// What stands for the item or its index in arguments that have neither it nor what would stand for it otherwise.
fn of_places(command: &CommandSpec) -> Result<(), UsageError> {
    // The first is the command's own name.
    let has = |text: &str| command.arguments.iter().skip(1).any(|argument| argument.contains(text));
    let places = [(&command.replace, "--replace", "{}"), (&command.replace_index, "--replace-index", "{#}")];
    for (place, option, otherwise) in places {
        if is_said(place) && !has(place) && !has(otherwise) {
            let said = place.option_name_with(option, place).to_string();
            return Err(UsageError::NowhereInArguments { said, text: (**place).clone() });
        }
    }
    Ok(())
}
