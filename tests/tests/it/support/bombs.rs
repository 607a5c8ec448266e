//! Tasks that are small to write and hard to compile, in wasm's binary form.

use super::guest::{Task, file};

/// Returns a number in wasm's encoding.
fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&number(bytes.len()), bytes].concat()
}

fn of_sections(header: &[u8; 8], sections: &[(u8, Vec<u8>)]) -> Task {
    let sections: Vec<Vec<u8>> = sections.iter().map(|(id, bytes)| [&[*id][..], &sized(bytes)].concat()).collect();
    file("task.wasm", &[&header[..], &sections.concat()].concat())
}

/// Returns a component of these sections.
pub fn in_binary(sections: &[(u8, Vec<u8>)]) -> Task {
    of_sections(b"\0asm\x0d\0\x01\0", sections)
}

/// Returns a core module of `count` functions `(i64) -> i64`, all with this code, the first of which is `f`; with more
/// sections before the code and after it.
fn module(count: usize, code: &[u8], before: &[(u8, Vec<u8>)], exports: Vec<u8>, after: &[(u8, Vec<u8>)]) -> Task {
    let body = sized(&[b"\0", code, b"\x0b"].concat());
    let mut sections = vec![(1, b"\x01\x60\x01\x7e\x01\x7e".to_vec()), (3, [number(count), vec![0; count]].concat())];
    sections.extend_from_slice(before);
    sections.push((7, exports));
    sections.push((10, [number(count), body.repeat(count)].concat()));
    sections.extend_from_slice(after);
    of_sections(b"\0asm\x01\0\0\0", &sections)
}

const F: &[u8] = b"\x01\x01f\0\0";

/// Returns a module of `count` functions with this code, the first of which is `f`.
pub fn of_bodies(count: usize, code: &[u8]) -> Task {
    module(count, code, &[], F.to_vec(), &[])
}

/// Returns a function in which `open` and `close` are nested `depth` times.
pub fn nested(open: &[u8], close: &[u8], depth: usize) -> Task {
    of_bodies(1, &[&open.repeat(depth), &close.repeat(depth), &b"\x20\0"[..]].concat())
}

/// Returns code that computes for `count` steps.
pub fn steps(count: usize) -> Vec<u8> {
    [&b"\x20\0"[..], &b"\x20\0\x7c\x20\0\x85".repeat(count)].concat()
}

/// Returns a module of one function, and this many bytes of data.
pub fn data(bytes: usize) -> Task {
    let memory = [&b"\x01\0"[..], &number(bytes / 65536 + 1)].concat();
    let data = [&b"\x01\0\x41\0\x0b"[..], &sized(&vec![b'z'; bytes])].concat();
    module(1, b"\x20\0", &[(5, memory)], F.to_vec(), &[(11, data)])
}

/// Returns a module of one function that is exported under `count` names of this length.
pub fn export_names(count: usize, length: usize) -> Task {
    let mut exports = number(count);
    for i in 0..count {
        let name = format!("f{i}_");
        exports.extend(sized(format!("{name:x<length$}").as_bytes()));
        exports.extend(b"\0\0");
    }
    module(1, b"\x20\0", &[], exports, &[])
}
