//! A log's time stamp, `10/Oct/2025:13:55:36 -0700`, as RFC 3339, which sorts.

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

pub fn rfc3339(stamp: &str) -> Option<String> {
    let (date, rest) = stamp.split_once(':')?;
    let (time, zone) = rest.split_once(' ')?;

    let [day, month, year] = parts(date, '/')?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let [hour, minute, second] = parts(time, ':')?;
    let (sign, offset) = zone.split_at_checked(1).filter(|(sign, _)| ["+", "-"].contains(sign))?;
    let (offset_hour, offset_minute) = offset.split_at_checked(2)?;

    let widths = [(day, 2), (year, 4), (hour, 2), (minute, 2), (second, 2), (offset, 4)];
    let are_digits =
        widths.iter().all(|(part, width)| part.len() == *width && part.bytes().all(|byte| byte.is_ascii_digit()));
    are_digits.then(|| format!("{year}-{month:02}-{day}T{hour}:{minute}:{second}{sign}{offset_hour}:{offset_minute}"))
}

fn parts(text: &str, separator: char) -> Option<[&str; 3]> {
    let mut parts = text.split(separator);
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_a_stamp_around() {
        assert_eq!(rfc3339("01/Feb/2025:03:04:05 +0130").as_deref(), Some("2025-02-01T03:04:05+01:30"));
    }

    #[test]
    fn refuses_what_is_no_stamp() {
        for stamp in ["", "01/Foo/2025:03:04:05 +0130", "1/Feb/2025:03:04:05 +0130", "01/Feb/2025:03:04:05 é"] {
            assert_eq!(rfc3339(stamp), None, "{stamp}");
        }
    }
}
