//! A calendar date for templates that write today's date into the prompt.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the second. Pass one to [`super::ChatTemplate::with_date`] to make such a prompt reproducible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Gregorian year.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    /// The system clock's moment.
    pub fn now() -> Self {
        Self::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
    }

    /// Seconds since 1970-01-01 → civil date (Hinnant, "chrono-compatible low-level date algorithms").
    fn from_unix(seconds: u64) -> Self {
        let (days, rest) = ((seconds / 86_400) as i64, seconds % 86_400);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        Self {
            year: yoe + era * 400 + i64::from(month <= 2),
            month: month as u8,
            day: (doy - (153 * mp + 2) / 5 + 1) as u8,
            hour: (rest / 3_600) as u8,
            minute: (rest / 60 % 60) as u8,
            second: (rest % 60) as u8,
        }
    }

    /// 0 for Sunday (Sakamoto's method).
    fn weekday(&self) -> usize {
        const SHIFT: [i64; 12] = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4];
        let y = self.year.clamp(-100_000, 100_000) - i64::from(self.month < 3);
        let shift = SHIFT.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or(0);
        let day = y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + shift + i64::from(self.day);
        day.rem_euclid(7) as usize
    }

    /// Python's `strftime` for the fields that templates use; an unknown one is kept as it is written.
    pub(super) fn format(&self, pattern: &str) -> String {
        let month = MONTHS.get(usize::from(self.month).saturating_sub(1)).copied().unwrap_or_default();
        let day = DAYS.get(self.weekday()).copied().unwrap_or_default();
        let hour12 = (self.hour + 11) % 12 + 1;
        let mut out = String::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut field = chars.next();
            let bare = field == Some('-');
            if bare {
                field = chars.next();
            }
            let two = |n: u8| if bare { n.to_string() } else { format!("{n:02}") };
            match field {
                Some('Y') => out.push_str(&self.year.to_string()),
                Some('y') => out.push_str(&format!("{:02}", self.year.rem_euclid(100))),
                Some('m') => out.push_str(&two(self.month)),
                Some('d') => out.push_str(&two(self.day)),
                Some('B') => out.push_str(month),
                Some('b') => out.push_str(month.get(..3).unwrap_or_default()),
                Some('A') => out.push_str(day),
                Some('a') => out.push_str(day.get(..3).unwrap_or_default()),
                Some('H') => out.push_str(&two(self.hour)),
                Some('I') => out.push_str(&two(hour12)),
                Some('M') => out.push_str(&two(self.minute)),
                Some('S') => out.push_str(&two(self.second)),
                Some('p') => out.push_str(if self.hour < 12 { "AM" } else { "PM" }),
                Some('%') => out.push('%'),
                other => {
                    out.push('%');
                    out.extend(bare.then_some('-').into_iter().chain(other));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        let d = Date::from_unix(1_721_995_384);
        assert_eq!(d, Date { year: 2024, month: 7, day: 26, hour: 12, minute: 3, second: 4 });
        assert_eq!(
            d.format("%a %A %d %b %Y %B %-m %I%p %H:%M:%S %y %% %Q"),
            "Fri Friday 26 Jul 2024 July 7 12PM 12:03:04 24 % %Q"
        );
        assert_eq!(Date::from_unix(0).format("%Y-%m-%d %a"), "1970-01-01 Thu");
        assert_eq!(Date::from_unix(951_782_400).format("%Y-%m-%-d"), "2000-02-29");
    }
}
