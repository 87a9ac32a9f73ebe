//! What travels on networks: HTTP, heads of e-mails, web addresses.

use super::dice::{Dice, fill};
use super::encoded::{encode_base64, one_uuid};
use super::numbers::clock;
use super::structured::value;
use super::words;

fn host(dice: &mut Dice) -> String {
    let name = dice.pick(&words::THINGS);
    let other = dice.pick(&words::ANIMALS);
    let end = dice.pick(&words::DOMAINS);
    match dice.below(4) {
        0 => format!("{name}.example.{end}"),
        1 => format!("www.{other}{name}.{end}"),
        2 => format!("api.{other}-{name}s.{end}"),
        _ => format!("{other}{}.{end}", dice.number(3)),
    }
}

fn path(dice: &mut Dice) -> String {
    let (a, b) = (dice.pick(&words::THINGS), dice.pick(&words::VERBS));
    match dice.below(7) {
        0 => "/".to_owned(),
        1 => format!("/{a}s/{}", dice.number(6)),
        2 => format!("/api/v{}/{a}s/{}", dice.range(1, 4), one_uuid(dice)),
        3 => format!("/{a}s?{b}={}&page={}", dice.pick(&words::QUALITIES), dice.number(2)),
        4 => format!("/static/{b}-{a}.{}.{}", dice.hex(8), dice.pick(&["js", "css", "png", "svg", "woff2"])),
        5 => format!(
            "/{}/{:02}/{}-{a}-{b}.html",
            dice.range(1998, 2026),
            dice.range(1, 12),
            dice.pick(&words::QUALITIES)
        ),
        _ => format!(
            "/search?q={}+{a}&lang={}",
            dice.pick(&words::COLOURS),
            dice.pick(&["en", "de", "fr", "es", "ja"])
        ),
    }
}

fn agent(dice: &mut Dice) -> String {
    let version = dice.range(60, 140);
    match dice.below(5) {
        0 => format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"),
        1 => format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/{version}.0.0.0 Safari/537.36"
        ),
        2 => format!("curl/8.{}.{}", dice.range(0, 12), dice.range(0, 3)),
        3 => format!("python-requests/2.{}.{}", dice.range(20, 32), dice.range(0, 4)),
        _ => format!("{}bot/{}.{}", dice.pick(&words::ANIMALS), dice.range(1, 4), dice.range(0, 9)),
    }
}

const STATUS: [(u16, &str); 10] = [
    (200, "OK"),
    (200, "OK"),
    (201, "Created"),
    (204, "No Content"),
    (301, "Moved Permanently"),
    (304, "Not Modified"),
    (400, "Bad Request"),
    (401, "Unauthorized"),
    (404, "Not Found"),
    (503, "Service Unavailable"),
];

fn date_line(dice: &mut Dice) -> String {
    let (day, month) = (dice.pick(&words::DAYS), dice.pick(&words::MONTHS));
    let (day, month) = (day.get(..3).unwrap_or(day), month.get(..3).unwrap_or(month));
    format!("{day}, {:02} {month} {} {}", dice.range(1, 28), dice.range(1995, 2026), clock(dice))
}

fn request(dice: &mut Dice) -> String {
    let method = dice.pick(&["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]);
    let accept =
        dice.pick(&["*/*", "application/json", "text/html,application/xhtml+xml;q=0.9", "image/webp,*/*"]);
    let mut lines = vec![
        format!("{method} {} HTTP/1.1", path(dice)),
        format!("Host: {}", host(dice)),
        format!("User-Agent: {}", agent(dice)),
        format!("Accept: {accept}"),
    ];
    let more = [
        "Accept-Encoding: gzip, deflate, br".to_owned(),
        "Connection: keep-alive".to_owned(),
        format!("Accept-Language: {}", dice.pick(&["en-US,en;q=0.5", "de-DE,de;q=0.9", "fr,en;q=0.7", "ja"])),
        format!("Referer: https://{}{}", host(dice), path(dice)),
        format!("If-None-Match: \"{}\"", dice.hex(16)),
        format!("X-Request-Id: {}", one_uuid(dice)),
        format!("Authorization: Basic {}", encode_base64(format!("user:{}", dice.number(6)).as_bytes())),
    ];
    let more: Vec<&String> = more.iter().collect();
    let count = dice.below(5);
    lines.extend(dice.some(&more, count).into_iter().cloned());
    let body = if ["POST", "PUT", "PATCH"].contains(&method) { value(dice, 2) } else { String::new() };
    if !body.is_empty() {
        lines.push("Content-Type: application/json".to_owned());
        lines.push(format!("Content-Length: {}", body.len()));
    }
    format!("{}\r\n\r\n{body}", lines.join("\r\n"))
}

fn response(dice: &mut Dice) -> String {
    let (code, words) = dice.pick(&STATUS);
    let server = dice.pick(&["nginx", "nginx/1.24.0", "Apache/2.4.57 (Debian)", "cloud", "envoy", "caddy"]);
    let html = dice.once_in(2);
    let body = match html {
        true => format!(
            "<!DOCTYPE html>\n<html><head><title>{code} {words}</title></head>\n<body><h1>{words}</h1>\
             <p>The {} is {}.</p></body></html>",
            dice.pick(&words::THINGS),
            dice.pick(&words::QUALITIES)
        ),
        false => value(dice, 3),
    };
    let kind = if html { "text/html; charset=utf-8" } else { "application/json" };
    format!(
        "HTTP/1.1 {code} {words}\r\nDate: {} GMT\r\nServer: {server}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\nCache-Control: {}\r\n\r\n{body}",
        date_line(dice),
        body.len(),
        dice.pick(&["no-cache", "max-age=3600", "public, max-age=31536000, immutable", "private"])
    )
}

fn log_line(dice: &mut Dice) -> String {
    let [a, b, c, d] = [(); 4].map(|()| dice.range(1, 254));
    let month = dice.pick(&words::MONTHS);
    let (code, _) = dice.pick(&STATUS);
    format!(
        "{a}.{b}.{c}.{d} - - [{:02}/{}/{}:{} +0000] \"GET {} HTTP/1.1\" {code} {} \"-\" \"{}\"\n",
        dice.range(1, 28),
        month.get(..3).unwrap_or(month),
        dice.range(2001, 2026),
        clock(dice),
        path(dice),
        dice.number(6),
        agent(dice)
    )
}

pub(super) fn http(dice: &mut Dice, size: usize) -> String {
    match dice.below(3) {
        0 => fill(dice, size, |dice, _| log_line(dice)),
        1 => fill(dice, size, |dice, _| format!("{}\r\n\r\n", request(dice))),
        _ => fill(dice, size, |dice, _| format!("{}{}\r\n\r\n", request(dice), response(dice))),
    }
}

pub(super) fn urls(dice: &mut Dice, size: usize) -> String {
    let form = dice.below(5);
    fill(dice, size, |dice, _| {
        let scheme = dice.pick(&["https", "https", "https", "http", "ftp", "wss"]);
        let (host, path) = (host(dice), path(dice));
        let url = format!("{scheme}://{host}{path}");
        match form {
            0 => format!("{url}\n"),
            1 => format!("- [{} {}]({url})\n", dice.pick(&words::QUALITIES), dice.pick(&words::THINGS)),
            2 => format!("<a href=\"{url}\">{}</a>\n", dice.pick(&words::CITIES)),
            3 => format!("See {url}#{} for the {}. ", dice.pick(&words::VERBS), dice.pick(&words::THINGS)),
            _ => format!("<url><loc>{url}</loc><priority>0.{}</priority></url>\n", dice.range(1, 9)),
        }
    })
}

fn address(dice: &mut Dice) -> (String, String) {
    let (first, last) = (dice.pick(&words::FIRST), dice.pick(&words::LAST));
    let host = format!("{}.{}", dice.pick(&words::THINGS), dice.pick(&words::DOMAINS));
    let name = match dice.below(3) {
        0 => format!("{first}.{last}"),
        1 => format!("{}{last}", first.get(..1).unwrap_or(first)),
        _ => format!("{first}{}", dice.number(2)),
    };
    (format!("{first} {last}"), format!("{}@mail.{host}", name.to_lowercase()))
}

fn mail_head(dice: &mut Dice) -> String {
    let ((from_name, from), (to_name, to)) = (address(dice), address(dice));
    let (thing, quality) = (dice.pick(&words::THINGS), dice.pick(&words::QUALITIES));
    let subject = match dice.below(6) {
        0 => format!("Re: {quality} {thing}"),
        1 => format!("Your {thing} #{} has been updated", dice.number(6)),
        2 => format!("[{thing}-users] How do I {} the {quality} {thing}?", dice.pick(&words::VERBS)),
        3 => format!("Fwd: {} in {}", dice.pick(&words::DAYS), dice.pick(&words::CITIES)),
        4 => format!("Invoice {} due {}", dice.number(5), dice.pick(&words::MONTHS)),
        _ => format!("Meeting about the {thing}"),
    };
    let received: String = (0..dice.below(3))
        .map(|_| {
            let [a, b, c, d] = [(); 4].map(|()| dice.range(1, 254));
            let (one, two) = (host(dice), host(dice));
            format!(
                "Received: from {one} ([{a}.{b}.{c}.{d}])\n\tby {two} with ESMTPS id {};\n\t{} +0000\n",
                dice.hex(12).to_uppercase(),
                date_line(dice)
            )
        })
        .collect();
    let zone = dice.pick(&["+0000", "+0100", "-0500", "-0800", "+0900", "+0530"]);
    let body = format!(
        "{} {to_name},\n\n{} the {quality} {thing} before {}.\n\n{}\n{from_name}\n",
        dice.pick(&["Dear", "Hi", "Hello", "Good morning"]),
        dice.pick(&["Please see", "I have attached", "We are waiting for", "Could you check"]),
        dice.pick(&words::DAYS),
        dice.pick(&["Best regards,", "Thanks,", "Yours sincerely,", "Cheers,"])
    );
    format!(
        "{received}Date: {} {zone}\nFrom: {from_name} <{from}>\nTo: {to_name} <{to}>\nSubject: {subject}\n\
         Message-ID: <{}@{}>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=\"utf-8\"\n\n{body}\n",
        date_line(dice),
        dice.hex(20),
        host(dice)
    )
}

pub(super) fn mail(dice: &mut Dice, size: usize) -> String {
    fill(dice, size, |dice, _| mail_head(dice))
}
