//! A directory as preview 1 returns it: entries with a header each, from the requested one up to the end of the room.

use super::file_numbers::NoMemory;

/// Size in bytes of an entry before its name: position of the next entry, number of the file, length of the name, and
/// kind.
const HEADER: usize = 24;
/// Number of entries before all others: the directory itself and the one above it.
const DOTS: usize = 2;
/// Number of bytes reserved at first, and factor by which that grows if it is not enough. For each try the runtime
/// looks at every entry, which takes longer than reserving too much: the kernel only provides what is written.
const ROOM: usize = 1 << 20;
const MORE: usize = 16;
const MOST_ROOM: usize = 1 << 30;
/// Number of bytes before the entries of an answer, in which the runtime says how many there are.
const USED: usize = 8;

/// A request of a guest: entries from a given one on, up to a number of bytes, written to an address.
pub struct ReaddirRequest {
    /// The directory.
    pub of: i32,
    pub at: i32,
    pub room: i32,
    pub from: i64,
    /// Address at which to write the number of bytes.
    pub told: i32,
}

/// All entries of a directory.
#[derive(Debug)]
pub struct Listing(Vec<DirectoryEntry>);

#[derive(Debug, PartialEq)]
struct DirectoryEntry {
    number: u64,
    kind: u8,
    name: Vec<u8>,
}

impl Listing {
    /// Reads a whole directory with `list`. It writes into memory at an address, up to a number of bytes, and writes
    /// the number of bytes used at address 0.
    ///
    /// # Errors
    ///
    /// Returns the error of `list`. The inner error is the error code for the guest.
    pub fn read(
        mut list: impl FnMut(&mut [u8], i32, i32) -> wasmtime::Result<i32>,
    ) -> wasmtime::Result<Result<Listing, i32>> {
        let mut room = ROOM;
        loop {
            let mut answer = vec![0; USED + room];
            match list(&mut answer, USED as i32, room as i32)? {
                0 => {}
                error => return Ok(Err(error)),
            }
            let (used, entries) = answer.split_at(USED);
            let used = used.first_chunk().map_or(0, |used| u32::from_le_bytes(*used)) as usize;
            // If the memory is full, there may be more.
            if used < room {
                return Ok(Ok(Listing::parse(entries.get(..used).unwrap_or(entries))));
            }
            if room == MOST_ROOM {
                return Ok(Ok(Listing::parse(entries)));
            }
            room = (room * MORE).min(MOST_ROOM);
        }
    }

    fn parse(mut bytes: &[u8]) -> Listing {
        let mut entries = Vec::new();
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() {
            let [_, _, _, _, _, _, _, _, number @ .., l0, l1, l2, l3, kind, _, _, _] = *header;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let Some((name, rest)) = rest.split_at_checked(length) else {
                break;
            };
            entries.push(DirectoryEntry { number: u64::from_le_bytes(number), kind, name: name.to_vec() });
            bytes = rest;
        }
        Listing(entries)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Sorts the entries by name.
    pub fn sort(&mut self) {
        if let Some(entries) = self.0.get_mut(DOTS..) {
            entries.sort_by(|one, other| one.name.cmp(&other.name));
        }
    }

    /// Gives each entry another number.
    pub fn renumber(&mut self, mut number: impl FnMut(u64) -> Result<u64, NoMemory>) -> Result<(), NoMemory> {
        self.0.iter_mut().try_for_each(|entry| {
            entry.number = number(entry.number)?;
            Ok(())
        })
    }

    /// Writes what was requested to the guest's memory. The last entry is cut where the room ends, so that the guest
    /// sees that there is more.
    ///
    /// Returns whether the end was reached, or `None` if the guest does not have this memory.
    pub fn tell(&self, memory: &mut [u8], asked: &ReaddirRequest) -> Option<bool> {
        let room = asked.room as u32 as usize;
        let to = memory.get_mut(asked.at as u32 as usize..)?.get_mut(..room)?;
        let mut used = 0;
        let from = usize::try_from(asked.from).unwrap_or(usize::MAX);
        for (index, entry) in self.0.iter().enumerate().skip(from) {
            for part in [&entry.header(index)[..], &entry.name] {
                let to = to.get_mut(used..)?;
                let length = part.len().min(to.len());
                to.get_mut(..length)?.copy_from_slice(part.get(..length)?);
                used += length;
            }
        }
        let told = memory.get_mut(asked.told as u32 as usize..)?.first_chunk_mut()?;
        *told = (used as u32).to_le_bytes();
        Some(used < room)
    }
}

impl DirectoryEntry {
    fn header(&self, index: usize) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let parts = [
            &(index as u64 + 1).to_le_bytes()[..],
            &self.number.to_le_bytes(),
            &(self.name.len() as u32).to_le_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(parts.concat().into_iter().chain([self.kind])) {
            *to = from;
        }
        header
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let entry = |(index, name): (usize, &&str)| DirectoryEntry {
            number: index as u64 * 7,
            kind: 4,
            name: name.as_bytes().into(),
        };
        Listing(names.iter().enumerate().map(entry).collect())
    }

    /// Returns all entries as a guest receives them that has room for this many bytes at a time.
    fn told(listing: &Listing, room: usize) -> Vec<DirectoryEntry> {
        let (mut entries, mut memory) = (Vec::new(), vec![0; room + 4]);
        loop {
            let asked = ReaddirRequest { of: 3, at: 4, room: room as i32, from: entries.len() as i64, told: 0 };
            listing.tell(&mut memory, &asked).unwrap();
            let used = u32::from_le_bytes(*memory.first_chunk().unwrap()) as usize;
            entries.extend(Listing::parse(&memory[4..4 + used]).0);
            if used < room {
                return entries;
            }
        }
    }

    #[test]
    fn a_guest_with_little_room_gets_the_same_in_parts() {
        let listing = listing(&[".", "..", "a", "a much longer name", "b"]);
        for room in [42, 43, 50, 66, 1000] {
            assert_eq!(told(&listing, room), listing.0, "{room} bytes at a time");
        }
    }

    #[test]
    fn a_directory_larger_than_the_first_room_is_read_whole() {
        let names: Vec<String> = (0..5000).map(|n| format!("a name that is not short {n}")).collect();
        let whole = listing(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let read = Listing::read(|memory, at, room| {
            Ok(whole.tell(memory, &ReaddirRequest { of: 3, at, room, from: 0, told: 0 }).map_or(21, |_| 0))
        });
        assert_eq!(read.unwrap().unwrap().0, whole.0);
        assert_eq!(Listing::read(|_, _, _| Ok(54)).unwrap().unwrap_err(), 54);
    }

    #[test]
    fn the_directory_itself_comes_first_in_any_order() {
        let mut listing = listing(&[".", "..", "b", "A", "-"]);
        listing.sort();
        let names: Vec<_> = listing.0.iter().map(|entry| String::from_utf8_lossy(&entry.name)).collect();
        assert_eq!(names, [".", "..", "-", "A", "b"]);
    }

    #[test]
    fn what_lies_outside_memory_is_not_told() {
        let listing = listing(&[".", ".."]);
        for (at, room, told) in [(0, 65, 0), (-1, 1, 0), (0, 8, 61), (0, -1, 0)] {
            assert_eq!(
                listing.tell(&mut [0; 64], &ReaddirRequest { of: 3, at, room, from: 0, told }),
                None,
                "{at} {room} {told}"
            );
        }
    }
}
