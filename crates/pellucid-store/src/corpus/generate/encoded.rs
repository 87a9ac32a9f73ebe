//! Bytes as letters: base 64, hexadecimal, identifiers, nucleotides.

use super::dice::{Dice, fill};
use super::words;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, with padding.
pub(super) fn encode_base64(bytes: &[u8]) -> String {
    let letter = |six: u32| BASE64.get((six & 63) as usize).map_or('=', |&letter| char::from(letter));
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let all = at(0) << 16 | at(1) << 8 | at(2);
        text.push(letter(all >> 18));
        text.push(letter(all >> 12));
        text.push(if chunk.len() > 1 { letter(all >> 6) } else { '=' });
        text.push(if chunk.len() > 2 { letter(all) } else { '=' });
    }
    text
}

fn random_bytes(dice: &mut Dice, count: usize) -> Vec<u8> {
    (0..count).map(|_| dice.byte()).collect()
}

/// English words, which look quite different in base 64 from random bytes.
fn phrase(dice: &mut Dice, size: usize) -> String {
    let word = |dice: &mut Dice, _| {
        let lists: [&[&str]; 3] = [&words::QUALITIES, &words::THINGS, &words::VERBS];
        let list = dice.pick(&lists);
        format!("{} ", dice.pick(list))
    };
    fill(dice, size, word)
}

fn wrapped(text: &str, width: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(width).map(|line| line.iter().collect::<String>() + "\n").collect()
}

pub(super) fn base64(dice: &mut Dice, size: usize) -> String {
    let bytes = size * 3 / 4;
    match dice.below(6) {
        0 => encode_base64(&random_bytes(dice, bytes)),
        1 => encode_base64(phrase(dice, bytes).as_bytes()),
        2 => {
            let what = dice.pick(&["CERTIFICATE", "PUBLIC KEY", "PGP MESSAGE", "CERTIFICATE REQUEST"]);
            let body = wrapped(&encode_base64(&random_bytes(dice, bytes)), 64);
            format!("-----BEGIN {what}-----\n{body}-----END {what}-----\n")
        }
        3 => fill(dice, size, |dice, _| {
            let kind = dice.pick(&["image/png", "image/jpeg", "font/woff2", "application/pdf", "text/plain"]);
            let count = dice.range(40, 200) as usize;
            let body = encode_base64(&random_bytes(dice, count));
            format!("<img alt=\"{}\" src=\"data:{kind};base64,{body}\">\n", dice.pick(&words::THINGS))
        }),
        4 => {
            let body = wrapped(&encode_base64(&random_bytes(dice, bytes)), 76);
            let name = dice.pick(&words::THINGS);
            format!(
                "Content-Type: application/octet-stream; name=\"{name}.bin\"\n\
                 Content-Transfer-Encoding: base64\n\n{body}"
            )
        }
        _ => fill(dice, size, |dice, _| {
            let text = phrase(dice, 24);
            let text = text.trim();
            format!("base64(\"{text}\") = {}\n", encode_base64(text.as_bytes()))
        }),
    }
}

pub(super) fn hex(dice: &mut Dice, size: usize) -> String {
    match dice.below(6) {
        0 => fill(dice, size, |dice, line| {
            let bytes = random_bytes(dice, 16);
            let pairs: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let shown: String =
                bytes.iter().map(|&b| if b.is_ascii_graphic() { char::from(b) } else { '.' }).collect();
            format!("{:08x}  {}  |{shown}|\n", line * 16, pairs.join(" "))
        }),
        1 => fill(dice, size, |dice, _| {
            let digits = dice.pick(&[32, 40, 64, 64]);
            format!("{}  {}-{}.tar.gz\n", dice.hex(digits), dice.pick(&words::THINGS), dice.number(2))
        }),
        2 => fill(dice, size, |dice, _| {
            format!("--{}-{}: #{};\n", dice.pick(&words::COLOURS), dice.pick(&words::THINGS), dice.hex(6))
        }),
        3 => fill(dice, size, |dice, _| {
            let name = dice.pick(&words::VERBS);
            format!("0x{} <{name}_{}+0x{}>\n", dice.hex(12), dice.pick(&words::THINGS), dice.hex(2))
        }),
        4 => fill(dice, size, |dice, _| {
            let n = dice.number(6);
            format!("{n} = 0x{n:X}\n")
        }),
        _ => dice.hex(size),
    }
}

/// Version 4: random, with its version and variant digits.
pub(super) fn one_uuid(dice: &mut Dice) -> String {
    let variant = dice.pick(&['8', '9', 'a', 'b']);
    let [a, b, c, d, e] = [8, 4, 3, 3, 12].map(|digits| dice.hex(digits));
    format!("{a}-{b}-4{c}-{variant}{d}-{e}")
}

pub(super) fn uuid(dice: &mut Dice, size: usize) -> String {
    let form = dice.below(5);
    let fixed = dice.pick(&words::THINGS);
    fill(dice, size, |dice, _| {
        let id = one_uuid(dice);
        match form {
            0 => format!("{id}\n"),
            1 => format!("{fixed}_id={id} status={}\n", dice.pick(&words::QUALITIES)),
            2 => format!("{{\"{fixed}Id\": \"{id}\", \"name\": \"{}\"}}\n", dice.pick(&words::FIRST)),
            3 => format!("| {} | `{id}` |\n", dice.pick(&words::LAST)),
            _ => format!(
                "GET /{fixed}s/{} {}\n",
                id.to_uppercase(),
                dice.pick(&[200, 200, 200, 201, 204, 404, 500])
            ),
        }
    })
}

fn bases(dice: &mut Dice, count: usize, rich: bool) -> String {
    // Genomes differ in how much G and C they have.
    let letters: &[char] =
        if rich { &['A', 'C', 'G', 'T', 'G', 'C'] } else { &['A', 'C', 'G', 'T', 'A', 'T'] };
    (0..count).map(|_| dice.pick(letters)).collect()
}

pub(super) fn dna(dice: &mut Dice, size: usize) -> String {
    let rich = dice.once_in(2);
    match dice.below(5) {
        0 => {
            let strain = dice.number(4);
            let body = wrapped(&bases(dice, size, rich), dice.pick(&[60, 70, 80]));
            format!(">contig_{strain} length={size} synthetic\n{body}")
        }
        1 => bases(dice, size, rich).to_lowercase(),
        2 => fill(dice, size, |dice, _| format!("{} ", bases(dice, 3, rich))),
        3 => fill(dice, size, |dice, line| {
            let length = dice.range(50, 100) as usize;
            let quality: String =
                (0..length).map(|_| dice.pick(&['F', 'F', 'F', ':', ',', '#', 'I'])).collect();
            format!("@read{line}/1\n{}\n+\n{quality}\n", bases(dice, length, rich))
        }),
        _ => fill(dice, size, |dice, line| {
            let blocks: Vec<_> = (0..6).map(|_| bases(dice, 10, rich).to_lowercase()).collect();
            format!("{:>9} {}\n", line * 60 + 1, blocks.join(" "))
        }),
    }
}
