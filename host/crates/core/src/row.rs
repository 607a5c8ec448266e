//! A row of CSV: its cells as JSON, and its quotes.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::json;

/// Returns a reader of rows whose cells are separated by `delimiter`.
pub fn reader(delimiter: u8) -> Reader {
    ReaderBuilder::new().delimiter(delimiter).build()
}

/// Delimiters that a file may have in place of the comma.
const OTHER_DELIMITERS: [u8; 3] = [b';', b'\t', b'|'];

/// Returns what separates the cells of a text, by its first row: the comma, unless there is none and one other character
/// separates cells. Returns `None` if the row is not complete, and there is more of it than the text.
pub fn delimiter_of(text: &[u8], is_whole: bool) -> Option<u8> {
    let cells = |delimiter| {
        let start = text.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(text.len());
        let (mut count, mut quoted, mut begins) = (1, false, true);
        for &byte in &text[start..] {
            match byte {
                b'"' if quoted || begins => quoted = !quoted,
                b'\n' | b'\r' if !quoted => return Some(count),
                _ if byte == delimiter && !quoted => count += 1,
                _ => {}
            }
            // A doubled quote within a cell closes and opens it again.
            begins = byte == delimiter || byte == b'"';
        }
        is_whole.then_some(count)
    };
    if cells(b',')? > 1 {
        return Some(b',');
    }
    let mut others = OTHER_DELIMITERS.into_iter().filter(|other| cells(*other).is_some_and(|count| count > 1));
    match (others.next(), others.next()) {
        (Some(other), None) => Some(other),
        _ => Some(b','),
    }
}

/// Appends a row as a JSON object of strings. Each key is the name of a column as JSON, with a colon. The error is the
/// index of the cell that is not UTF-8.
pub fn object(keys: &[String], cells: &[&[u8]], to: &mut Vec<u8>) -> Result<(), usize> {
    for (at, (key, cell)) in keys.iter().zip(cells).enumerate() {
        to.push(if at == 0 { b'{' } else { b',' });
        to.extend_from_slice(key.as_bytes());
        json::encode_string(std::str::from_utf8(cell).map_err(|_| at)?, to);
    }
    to.push(b'}');
    Ok(())
}

/// Appends a row as a JSON array of strings, if the columns have no names. The error is the index of the cell that is
/// not UTF-8.
pub fn array(cells: &[&[u8]], to: &mut Vec<u8>) -> Result<(), usize> {
    for (at, cell) in cells.iter().enumerate() {
        to.push(if at == 0 { b'[' } else { b',' });
        json::encode_string(std::str::from_utf8(cell).map_err(|_| at)?, to);
    }
    to.push(b']');
    Ok(())
}

/// Returns the name of a column as [`object`] expects it.
pub fn key(name: &str) -> String {
    serde_json::Value::from(name).to_string() + ":"
}

/// Error: a text is not one row of the expected columns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    #[error("the row of CSV is empty")]
    Empty,
    #[error("a quote opens in the row of CSV and is not closed")]
    OpenQuote,
    #[error("there is more than one row of CSV")]
    SeveralRows,
    #[error("the row of CSV has {cells} cells, its header has {header}")]
    OtherLength { cells: usize, header: usize },
    /// A cell, counted from 1, is not UTF-8.
    #[error("the row of CSV is not UTF-8 in cell {cell}")]
    NotUtf8 { cell: usize },
}

/// Cuts a text that should be one row of these columns.
pub fn of_text(text: &[u8], delimiter: u8, columns: Option<&[String]>) -> Result<Vec<u8>, RowError> {
    if text.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(RowError::Empty);
    }
    let (mut cells, mut ends) = (vec![0; text.len() + 1], vec![0; 64]);
    let (mut used, mut ended, mut rest, mut is_at_end) = (0, 0, text, false);
    let mut reader = reader(delimiter);
    let rest = loop {
        let (free, left) = (&mut cells[used..], &mut ends[ended..]);
        let (result, read, written, more) = reader.read_record(rest, free, left);
        rest = &rest[read..];
        used += written;
        ended += more;
        match result {
            ReadRecordResult::Record => break rest,
            ReadRecordResult::OutputEndsFull => ends.resize(ends.len() * 2, 0),
            // A newline ends any row, except one in which a quote is open.
            ReadRecordResult::InputEmpty if !is_at_end => (rest, is_at_end) = (b"\n", true),
            _ => return Err(RowError::OpenQuote),
        }
    };
    if !rest.trim_ascii().is_empty() {
        return Err(RowError::SeveralRows);
    }
    let cells = split(&cells, &ends[..ended]);
    let mut row = Vec::new();
    let written = match columns {
        Some(columns) if columns.len() != cells.len() => {
            return Err(RowError::OtherLength { cells: cells.len(), header: columns.len() });
        }
        Some(columns) => object(&columns.iter().map(|name| key(name)).collect::<Vec<_>>(), &cells, &mut row),
        None => array(&cells, &mut row),
    };
    written.map(|()| row).map_err(|at| RowError::NotUtf8 { cell: at + 1 })
}

/// Returns the cells that end at these positions.
pub fn split<'a>(bytes: &'a [u8], ends: &[usize]) -> Vec<&'a [u8]> {
    let mut start = 0;
    let cell = |&end: &usize| &bytes[std::mem::replace(&mut start, end)..end];
    ends.iter().map(cell).collect()
}

/// Result of checking the quotes of a row. Positions are byte offsets in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    /// No quote could have swallowed a line.
    Fine,
    /// The quote at this position is not closed.
    Open(usize),
    /// The quote at `open` has line ends after it, and is closed at `close`, in front of other text. Most likely it was
    /// not meant to open anything, and is "closed" by one that was meant to open a cell further down.
    Broken { open: usize, close: usize },
}

/// Checks the quotes of a row as the reader treats them: a quote that does not begin a cell is an ordinary character.
pub fn quotes(text: &[u8], delimiter: u8) -> Quotes {
    let mut at = 0;
    loop {
        if text.get(at) == Some(&b'"') {
            let open = at;
            at += 1;
            let close = loop {
                let rest = &text[at..];
                let Some(found) = memchr::memchr(b'"', rest) else {
                    return Quotes::Open(open);
                };
                at += found + 1;
                if text.get(at) != Some(&b'"') {
                    break at - 1;
                }
                at += 1;
            };
            let ends = text.get(at).is_none_or(|&next| next == delimiter || next == b'\n' || next == b'\r');
            if !ends && text.get(open..close).is_some_and(|cell| cell.contains(&b'\n')) {
                return Quotes::Broken { open, close };
            }
        }
        let rest = &text[at..];
        match memchr::memchr(delimiter, rest) {
            Some(found) => at += found + 1,
            None => return Quotes::Fine,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quote_that_swallows_lines_is_found_and_one_that_does_not_is_let_be() {
        for (text, wanted) in [
            (&b"a,b"[..], Quotes::Fine),
            (b"a,\"b\nc\",d", Quotes::Fine),
            (b"a,\"say \"\"hi\"\"\nyes\",d\r", Quotes::Fine),
            (b"a,5\" pipe,\"x\"y,d", Quotes::Fine),
            (b"9,\"DE,9.5\n10,DE,10.5\n", Quotes::Open(2)),
            (b"9,\"DE,9.5\n10,\"DE\",10.5", Quotes::Broken { open: 2, close: 13 }),
            (b"\"", Quotes::Open(0)),
            (b"\"a\"\"", Quotes::Open(0)),
        ] {
            assert_eq!(quotes(text, b','), wanted, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn a_row_that_is_written_by_the_book_is_read_as_its_cells(
            cells in proptest::collection::vec("[a-c,;\"\n\r ä]{0,6}", 1..5), semicolon in any::<bool>(),
        ) {
            prop_assume!(cells != [""]);
            let delimiter = if semicolon { b';' } else { b',' };
            let quoted: Vec<String> = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect();
            let text = quoted.join(if semicolon { ";" } else { "," });
            prop_assert_eq!(quotes(text.as_bytes(), delimiter), Quotes::Fine);
            let row = of_text(text.as_bytes(), delimiter, None).expect("it is a row");
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&row).expect("JSON"), cells);
        }
    }

    #[test]
    fn a_delimiter_is_known_by_the_first_row_where_there_is_one_alone() {
        for (text, is_whole, wanted) in [
            (&b"a,b\n1;2"[..], false, Some(b',')),
            (b"a;b\n1,5;2", false, Some(b';')),
            (b"\r\na\tb\r\n", false, Some(b'\t')),
            (b"a|b\n", false, Some(b'|')),
            (b"\"a,b\";c\n", false, Some(b';')),
            (b"\"say \"\"a,\"\"\";c\n", false, Some(b';')),
            (b"\"a;b\"\n", false, Some(b',')),
            (b"a;b|c\n", false, Some(b',')),
            (b"weight, kg;price\n", false, Some(b',')),
            (b"a\n", false, Some(b',')),
            (b"a;b", false, None),
            (b"a;b", true, Some(b';')),
            (b"", false, None),
            (b"", true, Some(b',')),
        ] {
            assert_eq!(delimiter_of(text, is_whole), wanted, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_not_one_row_says_what_it_is() {
        let columns = ["x".to_owned(), "y".to_owned()];
        for (text, says) in [
            (&b""[..], "empty"),
            (b"a", "has 1 cells, its header has 2"),
            (b"a,b,c", "has 3 cells"),
            (b"a,\"b", "is not closed"),
            (b"a,b\nc,d", "more than one row"),
            (b"a,\xff", "not UTF-8 in cell 2"),
        ] {
            let message = of_text(text, b',', Some(&columns)).expect_err("it is none").to_string();
            assert!(message.contains(says), "{message}");
        }
        assert_eq!(of_text(b"a,b\r\n", b',', Some(&columns)).as_deref(), Ok(&br#"{"x":"a","y":"b"}"#[..]));
    }
}
