//! The container of npz and of torch's `.pt`: a zip archive (PKWARE APPNOTE 6.3.10), of which a directory of entries, stored
//! or deflated, is read, and stored entries are written. Sums (CRC-32) are not checked: torch can leave them out.

use std::collections::BTreeSet;

use miniz_oxide::inflate::decompress_to_vec_with_limit;

/// What is wrong with an archive, in words; the caller knows the file.
pub(crate) type Result<T> = std::result::Result<T, String>;

/// One file of an archive.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Its first byte in the archive.
    pub(crate) at: usize,
    /// Bytes it takes there.
    pub(crate) packed: usize,
    /// Bytes it has.
    pub(crate) size: usize,
    method: u16,
}

impl Entry {
    /// Whether its bytes are in the archive as they are.
    pub(crate) fn is_stored(&self) -> bool {
        self.method == STORED
    }
}

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
/// A field that holds this has its number in a zip64 record.
const ELSEWHERE: usize = 0xffff_ffff;

/// Whether bytes may be an archive.
pub(crate) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The n little-endian bytes at a place.
fn number(bytes: &[u8], at: usize, n: usize) -> Result<usize> {
    let end = at.checked_add(n).ok_or("a place beyond its end")?;
    let part = bytes.get(at..end).ok_or("it ends too early; is it all there?")?;
    let value = part.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
    usize::try_from(value).map_err(|_| "a number that is too large".to_owned())
}

fn signed(bytes: &[u8], at: usize, mark: &[u8; 4]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(mark))
}

/// Where the directory begins, and how many entries it has.
fn directory(bytes: &[u8]) -> Result<(usize, usize)> {
    // the end record is the last thing in the file, but for a comment of up to 65535 bytes
    let least = bytes.len().saturating_sub(22 + 0xffff);
    let end = (least..bytes.len().saturating_sub(21)).rev().find(|at| signed(bytes, *at, b"PK\x05\x06"));
    let end = end.ok_or("it has no directory at its end; is it all there?")?;
    let Some(locator) = end.checked_sub(20).filter(|at| signed(bytes, *at, b"PK\x06\x07")) else {
        return Ok((number(bytes, end + 16, 4)?, number(bytes, end + 10, 2)?));
    };
    let wide = number(bytes, locator + 8, 8)?;
    if !signed(bytes, wide, b"PK\x06\x06") {
        return Err("its zip64 record is not where it should be".to_owned());
    }
    Ok((number(bytes, wide.saturating_add(48), 8)?, number(bytes, wide.saturating_add(32), 8)?))
}

/// All files of an archive.
pub(crate) fn entries(bytes: &[u8]) -> Result<Vec<Entry>> {
    let (mut at, count) = directory(bytes)?;
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    for _ in 0..count {
        if !signed(bytes, at, b"PK\x01\x02") {
            return Err("its directory is damaged".to_owned());
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| number(bytes, at + field, 2));
        let (name, extra, comment) = (name?, extra?, comment?);
        let text = bytes.get(at + 46..at + 46 + name).ok_or("its directory ends too early")?;
        let entry = entry(bytes, at, String::from_utf8_lossy(text).into_owned(), at + 46 + name, extra)?;
        if !seen.insert(entry.name.clone()) {
            return Err(format!("two of its entries are named `{}`", entry.name));
        }
        all.push(entry);
        at += 46 + name + extra + comment;
    }
    Ok(all)
}

/// One record of the directory, checked against the archive's length.
fn entry(bytes: &[u8], at: usize, name: String, extra: usize, length: usize) -> Result<Entry> {
    let [mut size, mut packed, mut local] =
        [number(bytes, at + 24, 4)?, number(bytes, at + 20, 4)?, number(bytes, at + 42, 4)?];
    if number(bytes, at + 8, 2)? & 1 == 1 {
        return Err(format!("its entry `{name}` is encrypted"));
    }
    let (mut field, end) = (extra, extra + length);
    while field + 4 <= end {
        let wide = number(bytes, field, 2)? == 1;
        let mut place = field + 4;
        for value in [&mut size, &mut packed, &mut local] {
            if wide && *value == ELSEWHERE {
                *value = number(bytes, place, 8)?;
                place += 8;
            }
        }
        field += 4 + number(bytes, field + 2, 2)?;
    }
    if !signed(bytes, local, b"PK\x03\x04") {
        return Err(format!("its entry `{name}` is not where its directory says"));
    }
    // the record before the data has lengths of its own
    let at_data = local + 30 + number(bytes, local + 26, 2)? + number(bytes, local + 28, 2)?;
    if at_data.checked_add(packed).is_none_or(|end| end > bytes.len()) {
        return Err(format!("its entry `{name}` goes beyond the file's end; is it all there?"));
    }
    let method = number(bytes, at + 10, 2)? as u16;
    if method == STORED && size != packed {
        return Err(format!("its entry `{name}` is stored as it is, in another number of bytes than it has"));
    }
    Ok(Entry { name, at: at_data, packed, size, method })
}

/// Replaces deflated entries by stored ones behind the archive's bytes. Weights hardly compress, so what claims to be far
/// larger than its file is refused before anything is made of it.
pub(crate) fn inflate(bytes: &mut Vec<u8>, entries: &mut [Entry]) -> Result<()> {
    let most = bytes.len().saturating_mul(16).saturating_add(16 << 20);
    let total = entries.iter().fold(0usize, |sum, e| sum.saturating_add(e.size));
    if total > most {
        return Err(format!(
            "its entries claim {total} bytes, of which an archive of {} has too few; it is made to fill memory",
            bytes.len()
        ));
    }
    for entry in entries {
        match entry.method {
            STORED => {}
            DEFLATED => {
                let packed = &bytes[entry.at..][..entry.packed];
                let data = decompress_to_vec_with_limit(packed, entry.size)
                    .map_err(|e| format!("its entry `{}` cannot be inflated: {e}", entry.name))?;
                if data.len() != entry.size {
                    return Err(format!(
                        "its entry `{}` inflates to {} bytes and claims {}",
                        entry.name,
                        data.len(),
                        entry.size
                    ));
                }
                (entry.at, entry.packed, entry.method) = (bytes.len(), data.len(), STORED);
                bytes.extend(data);
            }
            other => {
                return Err(format!(
                    "its entry `{}` is packed by method {other}; 0 and 8 are read",
                    entry.name
                ));
            }
        }
    }
    Ok(())
}

/// An archive of stored files. Every file's data begins at a multiple of 64 bytes, as torch wants it.
pub(crate) fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut all, mut records) = (Vec::new(), Vec::new());
    for (name, data) in files {
        let at = all.len();
        let padding = (64 - (at + 30 + name.len() + 4) % 64) % 64;
        // what the record of an entry and the directory share: version 2.0, no flags, stored, 1980-01-01 00:00
        let mut shared = [20u16, 0, STORED, 0, 0x21].map(u16::to_le_bytes).concat();
        shared.extend(crc32(data).to_le_bytes());
        shared.extend([data.len() as u32; 2].map(u32::to_le_bytes).concat());
        shared.extend((name.len() as u16).to_le_bytes());
        all.extend(b"PK\x03\x04");
        all.extend(&shared);
        all.extend((4 + padding as u16).to_le_bytes());
        all.extend(name.as_bytes());
        // a field that nobody knows holds the padding ("FB" is what torch calls it)
        all.extend(b"FB");
        all.extend((padding as u16).to_le_bytes());
        all.extend(std::iter::repeat_n(b'Z', padding));
        all.extend(data);
        records.extend(b"PK\x01\x02");
        records.extend(20u16.to_le_bytes());
        records.extend(&shared);
        // no extra field, no comment, the first disk, no attributes
        records.extend([0u8; 12]);
        records.extend((at as u32).to_le_bytes());
        records.extend(name.as_bytes());
    }
    let at = all.len();
    all.extend(&records);
    all.extend(b"PK\x05\x06");
    all.extend([0u16, 0, files.len() as u16, files.len() as u16].map(u16::to_le_bytes).concat());
    all.extend([records.len() as u32, at as u32].map(u32::to_le_bytes).concat());
    all.extend(0u16.to_le_bytes());
    all
}

/// Whether an archive of so many bytes of data can be written: without zip64, places are 32-bit numbers.
pub(crate) fn writable(bytes: usize) -> bool {
    bytes < 0xff00_0000
}

/// The sum that zip keeps of every file, bit by bit as the standard has it, by a table.
fn crc32(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256u32)
        .map(|i| (0..8).fold(i, |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 }))
        .collect();
    !data.iter().fold(!0u32, |c, b| table[((c ^ u32::from(*b)) & 0xff) as usize] ^ (c >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_archived_is_found() {
        let files: Vec<(String, Vec<u8>)> =
            (0..5u8).map(|i| (format!("a/{i}"), vec![i; usize::from(i) * 70])).collect();
        let bytes = archive(&files);
        let found = entries(&bytes).unwrap();
        assert_eq!(found.len(), 5);
        for (entry, (name, data)) in found.iter().zip(&files) {
            assert_eq!(&entry.name, name);
            assert_eq!(&bytes[entry.at..][..entry.size], &data[..]);
            assert_eq!(entry.at % 64, 0);
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn damage_is_an_error_and_no_panic() {
        let bytes = archive(&[("one".to_owned(), vec![7; 100]), ("two".to_owned(), vec![8; 9])]);
        for length in 0..bytes.len() {
            assert!(entries(&bytes[..length]).is_err());
        }
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                if let Ok(mut found) = entries(&damaged) {
                    let _ = inflate(&mut damaged, &mut found);
                    assert!(found.iter().all(|e| e.at + e.packed <= damaged.len()));
                }
            }
        }
    }
}
